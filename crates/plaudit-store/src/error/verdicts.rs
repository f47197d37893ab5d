//! ClickHouse's codes and what each means.
//!
//! Numbers and names are those of `src/Common/ErrorCodes.cpp`; a test asks the
//! engine for the name of every number here.

use super::Verdict;

/// What the server says with this code. One that is not listed is retried: giving
/// up on data because of a code nobody thought of would lose it.
pub(super) fn of(code: u32) -> Verdict {
    let listed = |codes: &[(u32, &str)]| codes.iter().any(|(known, _)| *known == code);
    VERDICTS
        .iter()
        .find(|(_, codes)| listed(codes))
        .map_or(Verdict::Retry, |(verdict, _)| *verdict)
}

/// Whether less of the same might go through.
pub(super) fn is_by_size(code: u32) -> bool {
    TOO_MUCH.contains(&code)
}

/// Whether an answer was longer than it was allowed to be.
pub(super) fn is_too_long(code: u32) -> bool {
    code == TOO_MANY_ROWS_OR_BYTES
}

const TOO_MANY_ROWS_OR_BYTES: u32 = 396;

/// Of those below: time or memory ran out.
const TOO_MUCH: [u32; 5] = [159, 173, 241, 777, 778];

const VERDICTS: &[(Verdict, &[(u32, &str)])] = &[
    (Verdict::Away, LOST),
    (Verdict::Busy, OVERLOADED),
    (Verdict::Busy, WITHOUT_REPLICAS),
    (Verdict::Busy, DISK),
    (Verdict::Poison, DATA),
    (Verdict::Fatal, SCHEMA),
    (Verdict::Fatal, RIGHTS),
];

/// The server lost another one that was to do it: it may have been done.
const LOST: &[(u32, &str)] = &[
    (198, "DNS_ERROR"),
    (209, "SOCKET_TIMEOUT"),
    (210, "NETWORK_ERROR"),
    (279, "ALL_CONNECTION_TRIES_FAILED"),
    (319, "UNKNOWN_STATUS_OF_INSERT"),
    (394, "QUERY_WAS_CANCELLED"),
];

/// The server has too much to do, or no room to do it in.
const OVERLOADED: &[(u32, &str)] = &[
    (159, "TIMEOUT_EXCEEDED"),
    (160, "TOO_SLOW"),
    (173, "CANNOT_ALLOCATE_MEMORY"),
    (201, "QUOTA_EXCEEDED"),
    (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    (203, "NO_FREE_CONNECTION"),
    (236, "ABORTED"),
    (241, "MEMORY_LIMIT_EXCEEDED"),
    (243, "NOT_ENOUGH_SPACE"),
    (252, "TOO_MANY_PARTS"),
    (364, "RECEIVED_ERROR_TOO_MANY_REQUESTS"),
    (439, "CANNOT_SCHEDULE_TASK"),
    (499, "S3_ERROR"),
    (574, "DISTRIBUTED_TOO_MANY_PENDING_BYTES"),
    (692, "TOO_MANY_MUTATIONS"),
    (700, "USER_SESSION_LIMIT_EXCEEDED"),
    (745, "SERVER_OVERLOADED"),
    (749, "TCP_CONNECTION_LIMIT_REACHED"),
    (762, "HTTP_CONNECTION_LIMIT_REACHED"),
    (776, "RESOURCE_LIMIT_EXCEEDED"),
    (777, "MEMORY_RESERVATION_KILLED"),
    (778, "MEMORY_RESERVATION_FAILED"),
];

/// A quorum or a replica is missing, which comes back.
const WITHOUT_REPLICAS: &[(u32, &str)] = &[
    (225, "NO_ZOOKEEPER"),
    (242, "TABLE_IS_READ_ONLY"),
    (254, "NO_ACTIVE_REPLICAS"),
    (265, "NO_AVAILABLE_REPLICA"),
    (285, "TOO_FEW_LIVE_REPLICAS"),
    (286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE"),
    (289, "REPLICA_IS_NOT_IN_QUORUM"),
    (369, "ALL_REPLICAS_ARE_STALE"),
    (415, "ALL_REPLICAS_LOST"),
    (416, "REPLICA_STATUS_CHANGED"),
    (519, "NO_REMOTE_SHARD_AVAILABLE"),
    (904, "TOO_MANY_UNAVAILABLE_SHARDS"),
    (999, "KEEPER_EXCEPTION"),
];

/// A disk that is full, read-only or failing, which is no fault of the data.
const DISK: &[(u32, &str)] = &[
    (74, "CANNOT_READ_FROM_FILE_DESCRIPTOR"),
    (75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR"),
    (76, "CANNOT_OPEN_FILE"),
    (77, "CANNOT_CLOSE_FILE"),
    (88, "CANNOT_TRUNCATE_FILE"),
    (172, "CANNOT_CREATE_DIRECTORY"),
    (204, "CANNOT_FSYNC"),
    (214, "CANNOT_STATVFS"),
    (294, "CANNOT_WRITE_TO_FILE"),
    (400, "CANNOT_STAT"),
    (481, "PATH_ACCESS_DENIED"),
    (531, "CANNOT_FSTAT"),
    (586, "CANNOT_CREATE_FILE"),
    (641, "CANNOT_APPEND_TO_FILE"),
];

/// The data.
const DATA: &[(u32, &str)] = &[
    (6, "CANNOT_PARSE_TEXT"),
    (26, "CANNOT_PARSE_QUOTED_STRING"),
    (27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    (32, "ATTEMPT_TO_READ_AFTER_EOF"),
    (33, "CANNOT_READ_ALL_DATA"),
    (38, "CANNOT_PARSE_DATE"),
    (41, "CANNOT_PARSE_DATETIME"),
    (69, "ARGUMENT_OUT_OF_BOUND"),
    (70, "CANNOT_CONVERT_TYPE"),
    (72, "CANNOT_PARSE_NUMBER"),
    (117, "INCORRECT_DATA"),
    (128, "TOO_LARGE_ARRAY_SIZE"),
    (131, "TOO_LARGE_STRING_SIZE"),
    (321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"),
    (349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
    (376, "CANNOT_PARSE_UUID"),
    (395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    (407, "DECIMAL_OVERFLOW"),
    (467, "CANNOT_PARSE_BOOL"),
    (469, "VIOLATED_CONSTRAINT"),
    (691, "UNKNOWN_ELEMENT_OF_ENUM"),
];

/// The schema.
const SCHEMA: &[(u32, &str)] = &[
    (7, "INCORRECT_NUMBER_OF_COLUMNS"),
    (8, "THERE_IS_NO_COLUMN"),
    (10, "NOT_FOUND_COLUMN_IN_BLOCK"),
    (16, "NO_SUCH_COLUMN_IN_TABLE"),
    (44, "ILLEGAL_COLUMN"),
    (46, "UNKNOWN_FUNCTION"),
    (47, "UNKNOWN_IDENTIFIER"),
    (50, "UNKNOWN_TYPE"),
    (53, "TYPE_MISMATCH"),
    (60, "UNKNOWN_TABLE"),
    (62, "SYNTAX_ERROR"),
    (73, "UNKNOWN_FORMAT"),
    (81, "UNKNOWN_DATABASE"),
    (115, "UNKNOWN_SETTING"),
    (701, "CLUSTER_DOESNT_EXIST"),
];

/// The rights.
const RIGHTS: &[(u32, &str)] = &[
    (164, "READONLY"),
    (192, "UNKNOWN_USER"),
    (193, "WRONG_PASSWORD"),
    (194, "REQUIRED_PASSWORD"),
    (195, "IP_ADDRESS_NOT_ALLOWED"),
    (497, "ACCESS_DENIED"),
    (516, "AUTHENTICATION_FAILED"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn p6_a_code_has_one_verdict_and_an_unknown_one_is_retried() {
        let mut seen = BTreeSet::new();
        for (verdict, codes) in VERDICTS {
            for (code, name) in *codes {
                assert!(seen.insert(code), "{name} is listed twice");
                assert_eq!(of(*code), *verdict, "{name}");
            }
        }
        assert_eq!(of(153), Verdict::Retry, "ILLEGAL_DIVISION");
        assert_eq!(of(99_999), Verdict::Retry);
        for code in TOO_MUCH {
            assert_eq!(of(code), Verdict::Busy);
        }
    }
}
