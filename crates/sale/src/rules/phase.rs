//! The phases of a checkout, and the operations of a provider.

/// The phase of a checkout.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// The payment is registered at the provider; no money moves.
    Preparing,
    /// The amount is reserved at the customer's bank.
    Authorising,
    /// The hold is confirmed and the order recorded, in one transaction.
    Ordering,
    /// The reserved amount is taken.
    Capturing,
    /// There is an order, whose amount is reserved and will be taken later.
    Authorised,
    /// There is an order, and its amount was taken.
    Captured,
    /// A part of the taken amount is given back.
    Refunding,
    /// The reservation is given up.
    Voiding,
    /// End: the payment was declined. There is no order.
    Declined,
    /// End: nothing is paid. There is no order.
    Released,
    /// End: the order was cancelled, and its customer owes nothing.
    Cancelled,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 11] = [
        Self::Preparing,
        Self::Authorising,
        Self::Ordering,
        Self::Capturing,
        Self::Authorised,
        Self::Captured,
        Self::Refunding,
        Self::Voiding,
        Self::Declined,
        Self::Released,
        Self::Cancelled,
    ];

    /// The transitions, for the audit.
    pub const TRANSITIONS: [(Self, Self); 23] = [
        (Self::Preparing, Self::Authorising),
        (Self::Preparing, Self::Declined),
        (Self::Preparing, Self::Released),
        (Self::Authorising, Self::Ordering),
        (Self::Authorising, Self::Declined),
        (Self::Authorising, Self::Voiding),
        (Self::Ordering, Self::Capturing),
        (Self::Ordering, Self::Authorised),
        (Self::Ordering, Self::Voiding),
        // Paid by a gift card alone.
        (Self::Ordering, Self::Captured),
        (Self::Ordering, Self::Released),
        (Self::Authorised, Self::Capturing),
        (Self::Authorised, Self::Voiding),
        (Self::Capturing, Self::Captured),
        (Self::Capturing, Self::Authorised),
        (Self::Capturing, Self::Voiding),
        (Self::Captured, Self::Refunding),
        (Self::Captured, Self::Cancelled),
        (Self::Refunding, Self::Captured),
        (Self::Refunding, Self::Cancelled),
        (Self::Voiding, Self::Released),
        (Self::Voiding, Self::Cancelled),
        (Self::Voiding, Self::Refunding),
    ];

    /// Returns the word in the API and in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Authorising => "authorising",
            Self::Ordering => "ordering",
            Self::Capturing => "capturing",
            Self::Authorised => "authorised",
            Self::Captured => "captured",
            Self::Refunding => "refunding",
            Self::Voiding => "voiding",
            Self::Declined => "declined",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the phase that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Returns whether a node has work to do.
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.is_without_order_yet()
            || matches!(self, Self::Capturing | Self::Refunding | Self::Voiding)
    }

    /// Returns whether no transition leads on.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Declined | Self::Released | Self::Cancelled)
    }

    /// Returns whether the checkout may still become an order.
    #[must_use]
    pub const fn is_without_order_yet(self) -> bool {
        matches!(self, Self::Preparing | Self::Authorising | Self::Ordering)
    }
}

/// An operation of a provider.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    /// Register a payment. No money moves, and a second registration does no harm.
    Prepare,
    /// Reserve the amount.
    Authorise,
    /// Take the amount, or a part of it and give up the rest.
    Capture,
    /// Give up the reservation, or make sure that there will be none.
    Void,
    /// Give a part of the taken amount back.
    Refund,
}

impl Operation {
    /// Returns the word in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}
