//! Reading a configuration: sizes, durations and choices, and tables key by key.
//!
//! Nothing here knows contracts. Every section of the configuration is read with these functions, so
//! that one syntax and one style of error hold for all of them:
//!
//! - [`TableReader`] reads one table, collects all of its problems, and names unknown keys with the
//!   nearest known one.
//! - [`parse_size`], [`parse_duration`] and [`parse_choice`] read one value. Their error contains the value,
//!   the accepted form with an example, and the range.
//!
//! | value | form | units |
//! |---|---|---|
//! | size | a number and a unit; a number alone is bytes | `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers of 1024), in any case |
//! | duration | numbers with units, added up: `1h 30min` | `ns`, `us`, `ms`, `s`, `m`, `h`, `d`, `w`, `M` (months), `y`, and longer names such as `min`, `hours` or `days`; in any case, except that units of one letter are written as here, since `m` is a minute and `M` a month |

mod choice;
mod duration;
mod key_survey;
mod listen_address;
mod problem;
mod size;
mod suggestion;
mod table_reader;

pub use choice::parse_choice;
pub use duration::{
    MAX_DURATION, TIME_LIMITS, duration_from_value, format_duration, parse_duration,
};
pub use key_survey::{KeyForm, KeySurvey};
pub use listen_address::parse_listen_address;
pub use problem::{Problem, ValueError, describe_value};
pub use size::{format_size, parse_size, size_from_value};
pub use suggestion::nearest_name;
pub use table_reader::TableReader;
