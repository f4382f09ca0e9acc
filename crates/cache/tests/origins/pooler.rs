//! Connection poolers between this process and PostgreSQL.

use super::*;

fn pool_at(address: std::net::SocketAddr, connections: usize) -> PostgresPool {
    let url = format!("postgres://shop@{address}/postgres?options=-c%20search_path%3Dpublic");
    PostgresPool::new(&url.parse().expect("a url"), connections, TIMEOUT)
}

fn hostile() -> Postgres {
    let (postgres, _) = postgres();
    postgres
        .psql(
            "create role shop login; grant select on products to shop; \
             alter table products alter column category_id type float8 using 0.1::float8 + 0.2; \
             alter role shop set extra_float_digits = -5; alter role shop set datestyle = 'German'",
        )
        .expect("a role");
    postgres
}

/// The float as the log writes it: the settings are those of the sessions, not of the role.
const EXACT: &str = "category-0.30000000000000004";

#[tokio::test]
async fn session_pooling_keeps_the_settings() {
    let postgres = hostile();
    let contract = contract(str::to_owned);
    for settings in
        ["pool_mode = session", "pool_mode = session\nignore_startup_parameters = options"]
    {
        let pooler = postgres.pooler(settings).expect("a pooler");
        let origin = PostgresOrigin::prepare(contract.clone(), pool_at(pooler.addr(), 2)).await;
        let origin = origin.expect("it fits");
        for _ in 0..5 {
            let loaded = load(&origin, &contract, "42").await.expect("a row");
            assert_eq!(loaded.tags, tags(&["product-42", EXACT]), "{settings}");
        }
        let asks: [(&dyn Origin, &Contract, &str); 2] =
            [(&origin, &contract, "42"), (&origin, &contract, "43")];
        assert!(load_many(&asks).await.0.iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn transaction_pooling_never_answers_from_other_session() {
    let postgres = hostile();
    let pooler = postgres.pooler("pool_mode = transaction").expect("a pooler");
    let contract = contract(|text| {
        text.replace("select price_cents", "select pg_sleep(0.02)::text, price_cents")
    });
    let mut origins = Vec::new();
    for _ in 0..3 {
        let pool = pool_at(pooler.addr(), 1);
        origins.push(PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits"));
    }
    // Loads at the same time meet the sessions of each other. These are refused, with the cure.
    let loads = origins.iter().map(|origin| async {
        let mut loads = Vec::new();
        for _ in 0..10 {
            loads.push(load(origin, &contract, "42").await);
        }
        loads
    });
    let loads: Vec<_> = futures_util::future::join_all(loads).await.into_iter().flatten().collect();
    for loaded in loads.iter().flatten() {
        assert_eq!(loaded.tags, tags(&["product-42", EXACT]));
    }
    let refused: Vec<_> = loads.iter().filter_map(|loaded| loaded.as_ref().err()).collect();
    assert!(!refused.is_empty(), "no load met another session");
    for err in refused {
        assert_eq!(err.kind, OriginErrorKind::Broken, "{err}");
        assert!(err.message.contains("pool_mode = session"), "{err}");
    }
}
