//! Exit codes.

/// The result of a command; the number is the exit code that scripts rely on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Exit {
    Good = 0,
    /// The command ran, and its verdict is bad.
    Bad = 1,
    /// The command line is wrong (clap exits with this code by itself).
    Usage = 2,
    /// The environment lacks something; the text says what, and how to get it.
    Environment = 3,
}
