//! Result codes of the v2 and v3 envelope, with their fixed texts. Source: Nacos `ErrorCode`.

/// A result code and the text that always goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// the `code` field
    pub number: u32,
    /// the `message` field
    pub message: &'static str,
}

macro_rules! codes {
    ($($name:ident = $number:literal, $message:literal;)*) => {
        $(
            #[doc = concat!($message, " (", stringify!($number), ")")]
            pub const $name: Code = Code { number: $number, message: $message };
        )*
        #[cfg(test)]
        const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    SUCCESS = 0, "success";
    PARAMETER_MISSING = 10000, "parameter missing";
    ACCESS_DENIED = 10001, "access denied";
    DATA_ACCESS_ERROR = 10002, "data access error";
    TENANT_PARAM_ERROR = 20001, "'tenant' parameter error";
    PARAMETER_VALIDATE_ERROR = 20002, "parameter validate error";
    MEDIA_TYPE_ERROR = 20003, "MediaType Error";
    RESOURCE_NOT_FOUND = 20004, "resource not found";
    RESOURCE_CONFLICT = 20005, "resource conflict";
    CONFIG_LISTENER_IS_NULL = 20006, "config listener is null";
    CONFIG_LISTENER_ERROR = 20007, "config listener error";
    INVALID_DATA_ID = 20008, "invalid dataId";
    PARAMETER_MISMATCH = 20009, "parameter mismatch";
    CONFIG_GRAY_OVER_MAX_VERSION_COUNT = 20010, "config gray version version over max count";
    CONFIG_GRAY_RULE_FORMAT_INVALID = 20011, "config gray rule format invalid";
    CONFIG_GRAY_VERSION_INVALID = 20012, "config gray rule version invalid";
    CONFIG_GRAY_NAME_UNRECOGNIZED = 20013, "config gray name not recognized";
    OVER_CLUSTER_QUOTA = 5031, "cluster capacity reach quota";
    OVER_GROUP_QUOTA = 5032, "group capacity reach quota";
    OVER_TENANT_QUOTA = 5033, "tenant capacity reach quota";
    OVER_MAX_SIZE = 5034, "config content size is over limit";
    FUZZY_WATCH_PATTERN_OVER_LIMIT = 50310, "fuzzy watch pattern over limit";
    FUZZY_WATCH_MATCH_OVER_LIMIT = 50311, "fuzzy watch pattern matched count over limit";
    SERVICE_NAME_ERROR = 21000, "service name error";
    WEIGHT_ERROR = 21001, "weight error";
    INSTANCE_METADATA_ERROR = 21002, "instance metadata error";
    INSTANCE_NOT_FOUND = 21003, "instance not found";
    INSTANCE_ERROR = 21004, "instance error";
    SERVICE_METADATA_ERROR = 21005, "service metadata error";
    SELECTOR_ERROR = 21006, "selector error";
    SERVICE_ALREADY_EXIST = 21007, "service already exist";
    SERVICE_NOT_EXIST = 21008, "service not exist";
    SERVICE_DELETE_FAILURE = 21009, "service delete failure";
    HEALTHY_PARAM_MISS = 21010, "healthy param miss";
    HEALTH_CHECK_STILL_RUNNING = 21011, "health check still running";
    ILLEGAL_NAMESPACE = 22000, "illegal namespace";
    NAMESPACE_NOT_EXIST = 22001, "namespace not exist";
    NAMESPACE_ALREADY_EXIST = 22002, "namespace already exist";
    ILLEGAL_STATE = 23000, "illegal state";
    NODE_INFO_ERROR = 23001, "node info error";
    NODE_DOWN_FAILURE = 23002, "node down failure";
    SERVER_ERROR = 30000, "server error";
    API_DEPRECATED = 40000, "API deprecated.";
    API_FUNCTION_DISABLED = 40001, "API function disabled.";
    MCP_SERVER_NOT_FOUND = 50000, "MCP server not found";
    MCP_SERVER_VERSION_NOT_FOUND = 50001, "MCP server version not found";
    MCP_SERVER_VERSION_EXISTED = 50002, "MCP server version has existed";
    MCP_SERVER_REF_ENDPOINT_NOT_FOUND = 50003, "MCP server ref endpoint service not found";
    METADATA_ILLEGAL = 100_002, "Imported metadata is invalid";
    DATA_VALIDATION_FAILED = 100_003, "No valid data was read";
    PARSING_DATA_FAILED = 100_004, "Failed to parse data";
    DATA_EMPTY = 100_005, "Imported file data is empty";
    NO_SELECTED_CONFIG = 100_006, "No configuration selected";
}

/// `code` inside the reply to a beat (not the envelope). Source: Nacos `NamingResponseCode`.
pub mod beat {
    /// the instance is known
    pub const OK: u32 = 10200;
    /// it is not, and the beat did not say enough to register it
    pub const RESOURCE_NOT_FOUND: u32 = 20404;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_has_two_meanings() {
        let mut numbers: Vec<u32> = ALL.iter().map(|code| code.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ALL.len());
        assert_eq!(SERVICE_NOT_EXIST, Code { number: 21008, message: "service not exist" });
    }
}
