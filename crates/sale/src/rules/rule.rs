//! The rules by name, so that a model can run without one of them, as with `coherence::Rule`.

/// A rule that keeps the sale right. The name states the property that is lost without it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// A hold is granted only if every line fits.
    EveryLineFits,
    /// A hold is granted only if its customer stays within the limit.
    WithinCustomerLimit,
    /// A hold has one end.
    OneEnd,
    /// A hold that is past its deadline is not confirmed.
    ConfirmedInTime,
    /// A hold does not expire before its deadline.
    ExpiredWhenDue,
    /// A hold is extended once.
    ExtendedOnce,
    /// A hold that is past its deadline is not extended.
    ExtendedInTime,
    /// A request whose key is known has no second effect.
    OneEffectPerKey,
    /// A key stands for one request.
    OneRequestPerKey,
    /// A reading of the ledger from before units came back refuses nothing.
    RefusalsFenced,
    /// A reading of the ledger refuses for a bounded time.
    RefusalsBounded,
    /// A hold has one checkout that is open or has an order.
    OneCheckoutPerHold,
    /// A node records a transition only from the recorded version.
    CurrentVersion,
    /// An operation without a definite outcome is repeated with its key only.
    SameKeyUntilDefinite,
    /// Money is taken only for an order.
    OrderBeforeCapture,
    /// A payment whose hold has ended is voided.
    ReleasedWithoutHold,
    /// A payment that may be authorised is voided before it is given up.
    VoidedBeforeRelease,
    /// No more is given back than was taken, and no more taken than authorised.
    RefundWithinCapture,
    /// A cart is replaced or paid only in the version that the client has seen.
    CartVersionShown,
    /// A cart is not changed while it is paid for, nor once it is ordered.
    CartFixedWhilePaid,
    /// A cart gets a new hold only if no earlier one can become an order.
    OneHoldPerCart,
    /// A change of a cart ends the hold of its former lines.
    ChangeCancelsHold,
    /// A checkout of a cart is of its present hold.
    CheckoutOfCartsHold,
    /// A checkout reserves no more than a gift card has left.
    GiftWithinBalance,
    /// The reserved part of a gift card is spent with the order.
    GiftSpentWithOrder,
    /// The reserved part of a gift card is released when its checkout ends without an order.
    GiftReleasedAtEnd,
    /// A cancelled order gives the gift card's part back.
    GiftReturnedOnCancel,
    /// An attempt of a job has one lease.
    OneLeasePerAttempt,
    /// A worker without the lease changes nothing.
    FencedByAttempt,
    /// A lease that is over is not extended.
    LeaseExtendedInTime,
    /// A lease is taken away when it is over, not before.
    LeaseRunsOut,
    /// A job has so many attempts.
    AttemptsBounded,
    /// An attempt does not start before it is due.
    DueBeforeRun,
    /// An attempt does not start after the job's time to live.
    ExpiredNotRun,
    /// No attempt starts while its kind is paused.
    PausedNotRun,
}

impl Rule {
    /// The rules of stock and holds.
    pub const STOCK: &[Self] = &[
        Self::EveryLineFits,
        Self::WithinCustomerLimit,
        Self::OneEnd,
        Self::ConfirmedInTime,
        Self::ExpiredWhenDue,
        Self::ExtendedOnce,
        Self::ExtendedInTime,
        Self::OneEffectPerKey,
        Self::OneRequestPerKey,
    ];

    /// The rules of early refusals.
    pub const EARLY: &[Self] = &[Self::RefusalsFenced, Self::RefusalsBounded];

    /// The rules of checkouts.
    pub const CHECKOUT: &[Self] = &[
        Self::OneCheckoutPerHold,
        Self::CurrentVersion,
        Self::SameKeyUntilDefinite,
        Self::OrderBeforeCapture,
        Self::ReleasedWithoutHold,
        Self::VoidedBeforeRelease,
        Self::RefundWithinCapture,
    ];

    /// The rules of carts.
    pub const CARTS: &[Self] = &[
        Self::CartVersionShown,
        Self::CartFixedWhilePaid,
        Self::OneHoldPerCart,
        Self::ChangeCancelsHold,
        Self::CheckoutOfCartsHold,
    ];

    /// The rules of gift cards.
    pub const GIFTS: &[Self] = &[
        Self::GiftWithinBalance,
        Self::GiftSpentWithOrder,
        Self::GiftReleasedAtEnd,
        Self::GiftReturnedOnCancel,
        Self::CurrentVersion,
    ];

    /// The rules of jobs.
    pub const JOBS: &[Self] = &[
        Self::OneLeasePerAttempt,
        Self::FencedByAttempt,
        Self::LeaseExtendedInTime,
        Self::LeaseRunsOut,
        Self::AttemptsBounded,
        Self::DueBeforeRun,
        Self::ExpiredNotRun,
        Self::PausedNotRun,
    ];
}

#[cfg(feature = "switches")]
std::thread_local! {
    static OFF: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Returns whether the rule is in force.
#[cfg(feature = "switches")]
pub(super) fn on(rule: Rule) -> bool {
    OFF.get() != Some(rule)
}

/// Returns whether the rule is in force: always.
#[cfg(not(feature = "switches"))]
#[inline(always)]
pub(super) const fn on(_: Rule) -> bool {
    true
}

/// Runs `step` on this thread without the rule.
#[cfg(feature = "switches")]
pub fn without<T>(rule: Option<Rule>, step: impl FnOnce() -> T) -> T {
    let before = OFF.replace(rule);
    let done = step();
    OFF.set(before);
    done
}
