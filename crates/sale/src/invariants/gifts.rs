//! The invariants of gift cards, which are those of stock.

use super::invariant::Invariant;

pub(super) const ALL: &[Invariant] = &[
    // 2
    Invariant {
        name: "gift-cards-are-the-movements",
        repair: "add up the card's movements; find the program that wrote the balance, and tell the owner the right one",
        query: "select substr(n.card, 1, 16), 'balance ' || sum(n.issued) || ' ' || sum(n.reserved) || ' ' || sum(n.spent) \
              || ', movements ' || sum(n.moved) || ' ' || sum(n.moved_reserved) || ' ' || sum(n.moved_spent) \
            from (select g.code_hash as card, g.issued, g.reserved, g.spent, 0 as moved, 0 as moved_reserved, \
                0 as moved_spent from {t}gift_card g \
              union all select m.card, 0, 0, 0, m.issued, m.reserved, m.spent from {t}gift_movement m) n \
            group by n.card having sum(n.issued) <> sum(n.moved) or sum(n.reserved) <> sum(n.moved_reserved) \
              or sum(n.spent) <> sum(n.moved_spent)",
    },
    // 3
    Invariant {
        name: "gift-cards-are-never-negative",
        repair: "compare the orders after this movement with the card's amount, and ask for another payment of the newest",
        query: "select substr(r.card, 1, 16), 'after movement ' || min(r.id) \
            from (select m.id, m.card, sum(m.issued) over w as issued, sum(m.reserved) over w as reserved, \
                sum(m.spent) over w as spent from {t}gift_movement m \
              window w as (partition by m.card order by m.id)) r \
            where r.reserved < 0 or r.spent < 0 or r.issued < r.reserved + r.spent group by r.card",
    },
    // 13, 15
    Invariant {
        name: "gift-parts-are-the-movements",
        repair: "compare the order with the card's movements: reserve, spend, release or return the difference on a new card",
        query: "select coalesce(p.checkout, 'no checkout'), 'reserved ' || sum(p.reserved) || ' and spent ' || sum(p.spent) \
              || ' in movements; by the checkout ' || sum(p.wanted_reserved) || ' and ' || sum(p.wanted_spent) \
            from (select m.checkout, m.reserved, m.spent, 0 as wanted_reserved, 0 as wanted_spent \
                from {t}gift_movement m where m.kind <> 'issue' \
              union all select c.id, 0, 0, \
                case when c.ordered or c.phase in ('declined', 'released', 'cancelled') then 0 else c.gift_amount end, \
                case when c.ordered then c.gift_amount - c.gift_returned else 0 end \
              from {t}checkout c where c.gift_amount > 0) p \
            group by p.checkout having sum(p.reserved) <> sum(p.wanted_reserved) \
              or sum(p.spent) <> sum(p.wanted_spent)",
    },
    Invariant {
        name: "gift-parts-are-moved-once",
        repair: "take the second release or spending back: the card pays more or less than its owner was told",
        query: "select coalesce(m.checkout, 'no checkout'), m.kind || ' ' || count(*) || ' times' from {t}gift_movement m \
            where m.kind in ('reserve', 'release', 'spend') group by m.checkout, m.kind having count(*) > 1",
    },
];
