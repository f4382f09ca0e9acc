//! The invariants of stock, holds, checkouts, carts and gift cards as queries, one text for both databases.
//!
//! Each row of a query is a finding: a subject and its figures. The statement is one, so all invariants are
//! checked in one snapshot.

mod carts;
mod gifts;
mod invariant;

use self::invariant::Invariant;
use crate::ledger::Finding;
use crate::rules::Phase;

/// How the databases differ in the queries.
pub(crate) struct Dialect {
    /// The prefix of tables: `tidegate.` or `tidegate_`.
    pub(crate) prefix: &'static str,
    /// A time a minute ago, by the database's clock.
    pub(crate) minute_ago: &'static str,
    /// A time a day ago.
    pub(crate) day_ago: &'static str,
    /// The function from a stored time to ms since 1970; empty: that is how times are stored.
    pub(crate) ms: &'static str,
}

/// The units that a SKU's policy `s` allows beyond those of the stock `t`.
const ALLOWANCE: &str = "case s.policy when 'oversell-units' then s.oversell \
    when 'oversell-percent' then t.on_hand * s.oversell / 100 else 0 end";

const OWN: &[Invariant] = &[
    // 1
    Invariant {
        name: "no-oversell",
        repair: "stop selling the SKU, deliver or restock the missing units, or cancel the newest orders and refund them",
        query: "select t.sku || ' ' || t.location, 'held ' || t.held || ', sold ' || t.sold || \
              ' of ' || t.on_hand || ' on hand and ' || ({allowance}) || ' beyond' \
            from {t}stock t join {t}sku s on s.sku = t.sku \
            where t.held + t.sold > t.on_hand + ({allowance})",
    },
    // 2
    Invariant {
        name: "counters-are-the-ledger",
        repair: "stop selling the SKU, count the units, and correct with `adjust`; find the program that wrote the counters",
        query: "select t.sku || ' ' || t.location, 'counters ' || t.on_hand || ' ' || t.held || ' ' || t.sold || \
              ', ledger ' || coalesce(m.on_hand, 0) || ' ' || coalesce(m.held, 0) || ' ' || coalesce(m.sold, 0) \
            from {t}stock t left join (select sku, location, sum(on_hand) as on_hand, sum(held) as held, \
                sum(sold) as sold from {t}movement group by sku, location) m \
              on m.sku = t.sku and m.location = t.location \
            where t.on_hand <> coalesce(m.on_hand, 0) or t.held <> coalesce(m.held, 0) \
              or t.sold <> coalesce(m.sold, 0)",
    },
    Invariant {
        name: "movements-have-stock",
        repair: "restore the record of the stock with `PUT /v1/stock/{sku}`",
        query: "select distinct m.sku || ' ' || m.location, 'no stock record' \
            from {t}movement m left join {t}stock t on t.sku = m.sku and t.location = m.location \
            where t.sku is null",
    },
    Invariant {
        name: "counters-are-the-holds",
        repair: "stop selling the SKU, compare with its orders, and correct with `adjust`; a lost hold was lost with a backup",
        query: "select t.sku || ' ' || t.location, 'counters ' || t.held || ' ' || t.sold || ', holds ' || \
              coalesce(h.held, 0) || ' ' || coalesce(h.sold, 0) \
            from {t}stock t left join (select m.sku, m.location, \
                sum(case h.state when 'active' then m.held else 0 end) as held, \
                sum(case h.state when 'confirmed' then m.held else 0 end) as sold \
              from {t}movement m join {t}hold h on h.id = m.hold where m.kind = 'hold' \
              group by m.sku, m.location) h on h.sku = t.sku and h.location = t.location \
            where t.held <> coalesce(h.held, 0) or t.sold <> coalesce(h.sold, 0)",
    },
    // 3
    Invariant {
        name: "never-negative",
        repair: "compare the orders after this movement with the units there were, and cancel and refund the newest",
        query: "select r.sku || ' ' || r.location, 'after movement ' || min(r.id) \
            from (select m.id, m.sku, m.location, \
                sum(m.on_hand) over w as on_hand, sum(m.held) over w as held, sum(m.sold) over w as sold, \
                s.policy = 'strict' and not exists (select 1 from {t}movement p where p.sku = m.sku \
                  and p.kind = 'policy' and p.reason like 'oversell%') as is_strict \
              from {t}movement m join {t}sku s on s.sku = m.sku \
              window w as (partition by m.sku, m.location order by m.id)) r \
            where r.on_hand < 0 or r.held < 0 or r.sold < 0 or (r.is_strict and r.on_hand < r.held + r.sold) \
            group by r.sku, r.location",
    },
    // 4
    Invariant {
        name: "one-end-per-hold",
        repair: "compare with the order of the hold: sold units need a confirmed hold, and others none",
        query: "select cast(h.id as text), 'state ' || h.state || ', ends of a line: ' || max(e.ends) \
            from {t}hold h join (select l.hold, l.sku, l.location, count(m.id) as ends, \
                sum(case when m.kind = h.state and m.held = -l.held then 1 else 0 end) as fitting \
              from {t}movement l join {t}hold h on h.id = l.hold left join {t}movement m on m.hold = l.hold \
                and m.kind in ('confirmed', 'cancelled', 'expired') and m.sku = l.sku and m.location = l.location \
              where l.kind = 'hold' group by l.hold, l.sku, l.location) e on e.hold = h.id \
            where (h.state = 'active' and e.ends > 0) \
              or (h.state <> 'active' and (e.ends <> 1 or e.fitting <> 1)) \
            group by h.id, h.state",
    },
    Invariant {
        name: "holds-expire",
        repair: "start a node: it expires holds that are due",
        query: "select cast(h.id as text), 'its deadline passed more than a minute ago and no node has recorded it' \
            from {t}hold h where h.state = 'active' and h.expires_at < {minute_ago}",
    },
    // 5
    Invariant {
        name: "ends-by-the-deadline",
        repair: "check the database's clock, and the order of the hold: its units may have been sold to another customer",
        query: "select cast(h.id as text), m.kind || ' at ' || m.at || ', deadline ' || h.expires_at \
            from {t}hold h join {t}movement m on m.hold = h.id \
            where (m.kind in ('confirmed', 'cancelled') and m.at >= h.expires_at) \
              or (m.kind = 'expired' and m.at < h.expires_at)",
    },
    // 6
    Invariant {
        name: "customer-units-are-the-holds",
        repair: "correct the customer's count to that of the holds, and find the program that wrote it",
        query: "select u.sku, 'a customer has ' || u.units || ' counted and ' || u.recount || ' in holds' \
            from (select c.sku, c.customer, sum(c.counted) as units, sum(c.recount) as recount from \
                (select sku, customer, units as counted, 0 as recount from {t}customer_units \
                 union all select m.sku, h.customer, 0, m.held from {t}movement m \
                   join {t}hold h on h.id = m.hold \
                   where m.kind = 'hold' and h.state in ('active', 'confirmed')) c \
              group by c.sku, c.customer) u join {t}sku s on s.sku = u.sku \
            where s.customer_limit is not null and u.units <> u.recount",
    },
    Invariant {
        name: "customer-limit",
        repair: "cancel the customer's newest orders beyond the limit, or raise the limit",
        query: "select u.sku, 'a customer has ' || u.units || ' units, the limit is ' || s.customer_limit \
            from {t}customer_units u join {t}sku s on s.sku = u.sku \
            where u.units > s.customer_limit and exists (select 1 from {t}movement m \
              join {t}hold h on h.id = m.hold and h.customer = u.customer \
              where m.sku = u.sku and m.kind = 'hold' and h.state in ('active', 'confirmed') \
                and m.id > (select coalesce(max(p.id), 0) from {t}movement p \
                  where p.sku = u.sku and p.kind = 'policy'))",
    },
    // 8
    Invariant {
        name: "holds-have-lines-and-keys",
        repair: "find the program that wrote the hold, and cancel the hold",
        query: "select cast(h.id as text), 'no line with a key' from {t}hold h \
            where not exists (select 1 from {t}movement m where m.hold = h.id and m.kind = 'hold' \
              and m.key is not null and m.held > 0)",
    },
    Invariant {
        name: "lines-have-holds",
        repair: "restore the hold from a backup, or adjust the stock by its units",
        query: "select 'movement ' || m.id, 'there is no hold ' || coalesce(cast(m.hold as text), 'in it') \
            from {t}movement m left join {t}hold h on h.id = m.hold \
            where m.kind in ('hold', 'confirmed', 'cancelled', 'expired') and h.id is null",
    },
    // 9: a key is kept for a day, and may stand for another request later.
    Invariant {
        name: "one-effect-per-key",
        repair: "ask the customer which of the holds was meant, and cancel the others",
        query: "select r.key, 'key of ' || count(distinct m.hold) || ' holds' from {t}request r \
            join {t}movement m on m.key = r.key and m.at >= r.at \
            where m.hold is not null group by r.key having count(distinct m.hold) > 1",
    },
    Invariant {
        name: "keys-have-effects",
        repair: "restore the hold from a backup: the customer was promised these units",
        query: "select r.key, 'its hold is missing' from {t}request r left join {t}hold h on h.id = r.hold \
            where r.hold is not null and h.id is null",
    },
    // 7, 14
    Invariant {
        name: "orders-have-sold-holds",
        repair: "sell the units to the order again, or cancel the order and refund it",
        query: "select c.id, 'its hold is ' || coalesce(h.state, 'missing') from {t}checkout c \
            left join {t}hold h on h.id = c.hold where c.ordered and coalesce(h.state, '') <> 'confirmed'",
    },
    // 12, 13, 14
    Invariant {
        name: "takes-are-for-orders",
        repair: "refund the amount at the provider: there is no order for it",
        query: "select c.id, 'captured ' || c.captured || ', refunded ' || c.refunded || ' without an order' \
            from {t}checkout c where c.captured > c.refunded and not c.ordered and c.due_at is null",
    },
    Invariant {
        name: "amounts-are-the-attempts",
        repair: "run `tidegate sale reconcile`: the provider's record tells which amount is right",
        query: "select c.id, 'captured ' || c.captured || ', refunded ' || c.refunded || '; by attempts ' || \
              a.captured || ' and ' || a.refunded \
            from {t}checkout c join (select k.id, \
                coalesce(sum(case when p.operation = 'capture' then p.amount end), 0) as captured, \
                coalesce(sum(case when p.operation = 'refund' then p.amount end), 0) as refunded \
              from {t}checkout k left join {t}payment_attempt p on p.checkout = k.id and p.outcome = 'done' \
              group by k.id) a on a.id = c.id \
            where c.captured <> a.captured or c.refunded <> a.refunded",
    },
    Invariant {
        name: "one-capture-per-order",
        repair: "refund the second capture at the provider",
        query: "select p.checkout, count(*) || ' captures' from {t}payment_attempt p \
            where p.operation = 'capture' and p.outcome = 'done' group by p.checkout having count(*) > 1",
    },
    // 15
    Invariant {
        name: "orders-are-authorised",
        repair: "run `tidegate sale reconcile`, and cancel the order if the provider has no payment",
        query: "select c.id, 'no executed authorisation' from {t}checkout c \
            where c.ordered and c.gift_amount < c.amount and not exists (select 1 from {t}payment_attempt p \
              where p.checkout = c.id and p.operation = 'authorise' and p.outcome = 'done')",
    },
    // 16
    Invariant {
        name: "ended-attempts-are-known",
        repair: "look the payment up at the provider; `tidegate sale reconcile` names a difference",
        query: "select p.checkout, p.operation || ' of ' || p.amount || ' has no outcome' \
            from {t}payment_attempt p join {t}checkout c on c.id = p.checkout \
            where p.outcome = 'sent' and c.due_at is null and c.phase <> 'released'",
    },
    // 17
    Invariant {
        name: "transitions-are-legal",
        repair: "compare the checkout with the provider's record, and find the program that wrote it",
        query: "select s.checkout, s.before || ' to ' || s.after from {t}checkout_step s \
            where s.before || ' ' || s.after not in ({transitions})",
    },
    // 18
    Invariant {
        name: "events-are-complete",
        repair: "read the order through the API, and send its missing events to their readers again",
        query: "select c.id, 'events ' || coalesce(count(o.id), 0) || ', the last has the number ' || \
              coalesce(max(o.number), 0) \
            from {t}checkout c left join {t}outbox o on o.checkout = c.id \
            where c.ordered group by c.id \
            having count(o.id) = 0 or max(o.number) <> count(o.id) \
              or sum(case when o.kind = 'order-placed' then 1 else 0 end) <> 1",
    },
    // 19
    Invariant {
        name: "checkouts-end",
        repair: "see that a node runs and the provider answers; the checkout goes on by itself",
        query: "select c.id, 'open for more than a day: ' || c.phase from {t}checkout c \
            where c.due_at is not null and c.created_at < {day_ago}",
    },
];

fn all() -> impl Iterator<Item = &'static Invariant> {
    OWN.iter().chain(carts::ALL).chain(gifts::ALL)
}

/// Returns the statement that checks all invariants: rows of name, subject and detail.
pub(crate) fn statement(dialect: &Dialect) -> String {
    let words = Phase::TRANSITIONS.map(|(from, to)| format!("'{} {}'", from.word(), to.word()));
    let transitions = words.join(", ");
    let parts = all().map(|Invariant { name, query, .. }| {
        let query = query.replace("{allowance}", ALLOWANCE).replace("{t}", dialect.prefix);
        let query = query.replace("{minute_ago}", dialect.minute_ago);
        let query = query.replace("{day_ago}", dialect.day_ago);
        let query = query.replace("{transitions}", &transitions);
        let alias = name.replace('-', "_");
        format!("select '{name}', {alias}.* from ({query}) as {alias}")
    });
    parts.collect::<Vec<_>>().join(" union all ")
}

/// Returns the finding of a row.
///
/// # Errors
/// The name is none of the statement's.
pub(crate) fn finding(name: &str, subject: String, detail: String) -> Result<Finding, String> {
    let invariant = all().find(|invariant| invariant.name == name);
    let Invariant { name, repair, .. } =
        invariant.ok_or_else(|| format!("the invariant {name:?}"))?;
    Ok(Finding { invariant: name, subject, detail, repair })
}

/// Returns the names of the invariants.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|invariant| invariant.name)
}
