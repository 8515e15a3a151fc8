//! What a handler refuses with, and in which form.

use super::messages::{Failure, codes};
use crate::naming::{NamingError, WriteError};
use muster_core::naming::RegisterError;
use muster_core::validate;

/// How a handler can fail: as its own response type, or as `ErrorResponse`.
pub(super) enum Refusal {
    /// the request's own response type
    Own(Failure),
    /// `ErrorResponse`
    Error(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Error(failure)
    }
}

impl From<validate::ParamProblem> for Refusal {
    /// N050
    fn from(problem: validate::ParamProblem) -> Self {
        Self::Own(Failure {
            result_code: codes::FAIL,
            error_code: codes::INVALID,
            message: format!("Param check invalid:{problem}"),
        })
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Error(Failure::fixed(codes::BAD_GATEWAY, error.to_string()))
    }
}

impl From<NamingError> for Refusal {
    fn from(error: NamingError) -> Self {
        Self::Error(match error {
            NamingError::Overloaded => Failure::coded(codes::OVER_THRESHOLD, error.to_string()),
            NamingError::Stopped => Failure::coded(codes::FAIL, error.to_string()),
        })
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Register(error) => error.into(),
            WriteError::Naming(error) => error.into(),
            WriteError::Propose(_)
            | WriteError::Delete(_)
            | WriteError::Switch(_)
            | WriteError::Exists(_) => Self::Error(Failure::coded(codes::FAIL, error.to_string())),
        }
    }
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        Self::Error(match error {
            RegisterError::ServiceIsPersistent(_) | RegisterError::ServiceIsEphemeral(_) => {
                Failure::unchecked(codes::INVALID, &error)
            }
            RegisterError::UnknownIdGenerator(_) => Failure::coded(codes::FAIL, error.to_string()),
        })
    }
}

impl From<validate::InstanceProblem> for Refusal {
    fn from(problem: validate::InstanceProblem) -> Self {
        Self::Error(Failure::coded(codes::INVALID, problem.to_string()))
    }
}
