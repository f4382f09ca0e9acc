//! The invariants of carts.

use super::invariant::Invariant;

pub(super) const ALL: &[Invariant] = &[
    // 9
    Invariant {
        name: "one-order-per-cart",
        repair: "ask the customer which order was meant, and cancel and refund the others",
        query: "select l.cart, count(*) || ' holds of it are sold' from {t}cart_hold l \
            join {t}hold h on h.id = l.hold and h.state = 'confirmed' \
            where not exists (select 1 from {t}checkout k where k.hold = l.hold and k.phase = 'cancelled' \
              and k.captured = 0 and not k.captures_later and k.gift_amount < k.amount) \
            group by l.cart having count(*) > 1",
    },
    Invariant {
        name: "one-hold-per-cart",
        repair: "cancel the holds but the newest: the customer is kept more units than the cart has",
        // A hold that was due when the next one was taken may wait for the record of its end.
        query: "select l.cart, 'hold ' || l.number || ' is active beside a later one' from {t}cart_hold l \
            join {t}hold h on h.id = l.hold and h.state = 'active' \
            join {t}cart_hold n on n.cart = l.cart and n.number = l.number + 1 where h.expires_at > n.at",
    },
    Invariant {
        name: "carts-have-their-holds",
        repair: "compare the cart with its orders; find the program that wrote it",
        query: "select c.id, 'its hold ' || cast(c.hold as text) || ' is none of its ' || c.holds || ' holds' \
            from {t}cart c left join {t}cart_hold l on l.hold = c.hold and l.cart = c.id \
              and l.number = c.holds \
            left join {t}hold h on h.id = l.hold where c.hold is not null and h.id is null",
    },
];
