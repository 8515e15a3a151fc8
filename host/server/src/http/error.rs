//! What went wrong, apart from how each generation of the API says it.

use super::codes::{self, Code};
use super::reply::{self, Reply};
use crate::naming::{NamingError, WriteError};
use http::StatusCode;
use muster_core::naming::{DeleteServiceError, RegisterError};
use muster_core::validate::{InstanceProblem, ParamProblem};
use std::borrow::Cow;
use std::fmt;

/// How an API answers: errors are rendered in the caller's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// v1: the text alone
    Text,
    /// v1 core and console: `{"code":200,"message":…,"data":…}`
    Rest,
    /// v2 and v3: `{"code":0,"message":…,"data":…}`
    Envelope,
}

/// A request that is not answered as asked. Holds only what the client may read.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A required parameter: its name, its Java type, and whether Nacos leaves the check to its framework.
    Missing { name: &'static str, kind: &'static str, framework: bool },
    /// A text for the client, and the code of the envelope.
    Coded { code: Code, text: Cow<'static, str> },
    /// A text that is sent bare in every dialect: the limits of parameters.
    Bare(String),
    /// A fault of this node: the text is the envelope's message.
    Fault(String),
}

impl ApiError {
    /// A required parameter is missing or blank.
    pub fn missing(name: &'static str) -> Self {
        Self::missing_kind(name, "String", false)
    }

    /// As [`ApiError::missing`], worded by Nacos's web framework on v1.
    pub fn missing_in_framework(name: &'static str) -> Self {
        Self::missing_kind(name, "String", true)
    }

    /// As [`ApiError::missing`], for a parameter of another Java type.
    pub fn missing_kind(name: &'static str, kind: &'static str, framework: bool) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: Kind::Missing { name, kind, framework } }
    }

    /// An argument that cannot be used (400).
    pub fn illegal(text: impl Into<Cow<'static, str>>) -> Self {
        Self::coded(StatusCode::BAD_REQUEST, codes::PARAMETER_VALIDATE_ERROR, text)
    }

    /// Text that should be a number (400), in Java's words.
    pub fn not_a_number(text: &str) -> Self {
        Self::illegal(format!("For input string: \"{text}\""))
    }

    /// A refusal with its own status and code.
    pub fn coded(status: StatusCode, code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind: Kind::Coded { code, text: text.into() } }
    }

    /// A bad request with its own code.
    pub fn refused(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self::coded(StatusCode::BAD_REQUEST, code, text)
    }

    /// Something that does not exist (404).
    pub fn not_found(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self::coded(StatusCode::NOT_FOUND, code, text)
    }

    /// A fault of this node (500).
    pub fn fault(error: &impl fmt::Display) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: Kind::Fault(error.to_string()) }
    }

    /// This node cannot answer now: overloaded, stopping, or without a quorum (503).
    pub fn unavailable(error: &impl fmt::Display) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: Kind::Fault(error.to_string()) }
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it speaks of this node and not of the request.
    pub fn is_fault(&self) -> bool {
        matches!(self.kind, Kind::Fault(_))
    }

    /// The text v1 answers with.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.kind {
            Kind::Missing { name, framework: false, .. } => format!("Param '{name}' is required.").into(),
            Kind::Missing { name, framework: true, .. } => format!("Parameter '{name}' is missing").into(),
            Kind::Coded { text, .. } => text.as_ref().into(),
            Kind::Bare(text) | Kind::Fault(text) => text.as_str().into(),
        }
    }

    /// The reply in `dialect`.
    pub fn render(&self, dialect: Dialect) -> Reply {
        let encoded = match dialect {
            Dialect::Text => Ok(self.as_text()),
            Dialect::Rest => self.as_rest(),
            Dialect::Envelope => self.as_envelope(),
        };
        encoded.unwrap_or_else(|_| self.as_text())
    }

    fn as_text(&self) -> Reply {
        reply::text(self.status, self.text().into_owned())
    }

    fn as_rest(&self) -> Result<Reply, Self> {
        let body = serde_json::json!({"code": self.status.as_u16(), "message": self.text(), "data": null});
        reply::json_with(self.status, &body)
    }

    fn as_envelope(&self) -> Result<Reply, Self> {
        match &self.kind {
            Kind::Missing { name, kind, .. } => {
                let text = format!("Required parameter '{name}' type {kind} is not present");
                let code = codes::PARAMETER_MISSING;
                reply::result(self.status, code, code.message, &text)
            }
            Kind::Coded { code, text } => reply::result(self.status, *code, code.message, text),
            Kind::Bare(_) => Ok(self.as_text()),
            Kind::Fault(text) => {
                reply::result(self.status, codes::SERVER_ERROR, text, &serde_json::Value::Null)
            }
        }
    }
}

impl From<ParamProblem> for ApiError {
    fn from(problem: ParamProblem) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: Kind::Bare(problem.to_string()) }
    }
}

impl From<InstanceProblem> for ApiError {
    fn from(problem: InstanceProblem) -> Self {
        let code = match problem {
            InstanceProblem::Timing | InstanceProblem::ClusterName(_) => codes::INSTANCE_ERROR,
            InstanceProblem::Weight => codes::WEIGHT_ERROR,
        };
        Self::refused(code, problem.to_string())
    }
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::ServiceIsPersistent(_) | RegisterError::ServiceIsEphemeral(_) => {
                Self::refused(codes::SERVER_ERROR, format!("errCode: 400, errMsg: {error}"))
            }
            RegisterError::UnknownIdGenerator(_) => Self::illegal(error.to_string()),
        }
    }
}

impl From<DeleteServiceError> for ApiError {
    fn from(error: DeleteServiceError) -> Self {
        let code = match error {
            DeleteServiceError::NotFound(_) => codes::SERVICE_NOT_EXIST,
            DeleteServiceError::NotEmpty(_) => codes::SERVICE_DELETE_FAILURE,
        };
        Self::refused(code, error.to_string())
    }
}

impl From<NamingError> for ApiError {
    fn from(error: NamingError) -> Self {
        match error {
            NamingError::Overloaded | NamingError::Stopped => Self::unavailable(&error),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Register(error) => error.into(),
            WriteError::Delete(error) => error.into(),
            WriteError::Switch(error) => Self::illegal(error.to_string()),
            WriteError::Exists(_) => Self::refused(codes::SERVICE_ALREADY_EXIST, error.to_string()),
            WriteError::Propose(error) => Self::fault(&error),
            WriteError::Naming(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn body(error: &ApiError, dialect: Dialect) -> String {
        let Ok(bytes) = error.render(dialect).into_body().collect().await;
        String::from_utf8(bytes.to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn n051_n052_n170_a_missing_parameter_is_named_in_each_dialect() {
        let error = ApiError::missing("ip");
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(body(&error, Dialect::Text).await, "Param 'ip' is required.");
        assert_eq!(
            body(&error, Dialect::Envelope).await,
            r#"{"code":10000,"message":"parameter missing","data":"Required parameter 'ip' type String is not present"}"#
        );
        assert_eq!(
            body(&ApiError::missing_in_framework("entry"), Dialect::Text).await,
            "Parameter 'entry' is missing"
        );
    }

    #[tokio::test]
    async fn n033_the_weight_error_has_its_code() {
        let error = ApiError::from(InstanceProblem::Weight);
        let text = "instance format invalid: The weights range from 0.0 to 10000.0";
        assert_eq!(body(&error, Dialect::Text).await, text);
        assert_eq!(
            body(&error, Dialect::Envelope).await,
            format!(r#"{{"code":21001,"message":"weight error","data":"{text}"}}"#)
        );
    }

    #[tokio::test]
    async fn broken_limits_are_bare_text_in_every_dialect() {
        let error = ApiError::from(ParamProblem::Port);
        let text = "Param 'port' is illegal, the value should be between 0 and 65535.";
        assert_eq!(body(&error, Dialect::Text).await, text);
        assert_eq!(body(&error, Dialect::Envelope).await, text);
    }

    #[tokio::test]
    async fn a_fault_puts_its_text_into_the_message() {
        let error = ApiError::fault(&"no leader");
        assert_eq!(
            body(&error, Dialect::Envelope).await,
            r#"{"code":30000,"message":"no leader","data":null}"#
        );
        assert!(error.is_fault() && !ApiError::missing("x").is_fault());
    }
}
