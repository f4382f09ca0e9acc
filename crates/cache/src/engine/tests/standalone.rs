//! The engine without a log, as a program uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use coherence::Subject;
use contract::Contract;

use crate::engine::standalone::NeverFed;
use crate::origin::function::FunctionOrigin;
use crate::{Content, Engine, Loaded, Origin, Tier};

fn contract(text: &str) -> Contract {
    Contract::from_toml("rate", &text.parse().expect("well-formed")).expect("valid")
}

#[tokio::test]
async fn standalone_entry_ends_by_invalidation() {
    let contract =
        contract("key = \"v1:money:rate:{id}\"\ntags = [\"rates\"]\nstaleness = \"30s\"");
    let loads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&loads);
    let function = move |_, _| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok(Loaded::value(number.to_string())) }
    };
    let origin: Arc<dyn Origin> = Arc::new(FunctionOrigin::new(contract.clone(), function));
    let standalone = Engine::standalone().await.expect("started");
    let policy = standalone.policy(&contract).expect("no table");
    let key = contract.key("eur").expect("a key");
    let read = async || {
        let answer = standalone.engine().get(&key, "eur", &policy, &origin).await.expect("a value");
        let Content::Present(value) = answer.entry.content() else { panic!("no value") };
        (String::from_utf8_lossy(&value.body).into_owned(), answer.proof().tier)
    };
    assert_eq!(read().await, ("0".to_owned(), Tier::Origin));
    assert_eq!(read().await, ("0".to_owned(), Tier::Local));
    for number in ["1", "2"] {
        let tag = contract.tags[0].tag(|_| None).expect("a tag");
        standalone.invalidate(vec![Subject::Tag(tag)]).await.expect("applied");
        assert_eq!(read().await, (number.to_owned(), Tier::Origin));
    }
}

#[tokio::test]
async fn standalone_refuses_contract_that_is_never_fed() {
    let contract = contract(
        "key = \"v1:a:b:{id}\"\nstaleness = \"1s\"\nfrom = { source = \"shop\", table = \"rates\" }",
    );
    let standalone = Engine::standalone().await.expect("started");
    let err = standalone.policy(&contract).expect_err("refused");
    assert_eq!(err, NeverFed { contract: "rate".into(), table: "rates".into() });
    assert!(err.to_string().contains("follows no log"), "{err}");
}
