//! The account at the authority.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};

use crate::authority::Authority;
use crate::failure::Failure;
use crate::options::ExternalAccount;

/// The file of the account and its key.
pub(crate) const FILE: &str = "account.json";

/// Opens the account in the folder, or registers one.
pub(crate) async fn open(authority: &Authority) -> Result<Account, Failure> {
    if let Some(account) = stored(authority).await? {
        return Ok(account);
    }
    let options = &authority.options;
    let external = match options.external_account.clone() {
        None => None,
        Some(external) => Some(authority.blocking(move |_| Ok(read_key(&external))).await??),
    };
    let contacts: Vec<&str> = options.contacts.iter().map(String::as_str).collect();
    let account = NewAccount {
        contact: &contacts,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let builder = Account::builder_with_http(authority.client());
    let created = builder.create(&account, options.directory.clone(), external.as_ref()).await;
    let (account, credentials) = created.map_err(Failure::of)?;
    let json = serde_json::to_vec(&credentials).map_err(|err| Failure::storage(&err))?;
    authority.blocking(move |storage| storage.write(FILE, &json)).await?;
    tracing::info!(
        directory = options.directory,
        account = account.id(),
        "ACME account registered"
    );
    Ok(account)
}

/// Opens the account in the folder; `None`: there is none.
pub(crate) async fn stored(authority: &Authority) -> Result<Option<Account>, Failure> {
    let Some(json) = authority.blocking(|storage| storage.read(FILE)).await? else {
        return Ok(None);
    };
    let credentials: AccountCredentials = serde_json::from_slice(&json).map_err(|_| {
        let problem = format!("{} is malformed", authority.storage.path(FILE).display());
        let remedy = "restore the file, or remove it: a new account is made";
        Failure::refused("storage", problem, remedy)
    })?;
    let builder = Account::builder_with_http(authority.client());
    builder.from_credentials(credentials).await.map(Some).map_err(Failure::of)
}

fn read_key(external: &ExternalAccount) -> Result<ExternalAccountKey, Failure> {
    let path = external.key_file.display();
    let unusable = |problem: &str| {
        let problem = format!("external_account_key_file = {path} {problem}");
        let remedy = "write the key as the authority has issued it (base64url, one line), readable by Tidegate's user";
        Failure::refused("external-account", problem, remedy)
    };
    let text = std::fs::read_to_string(&external.key_file);
    let text = text.map_err(|err| unusable(&format!("can't be read: {err}")))?;
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    let key = key.ok().filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| unusable("has no key in base64url"))?;
    Ok(ExternalAccountKey::new(external.id.clone(), &key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_key_named_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let key_file = folder.path().join("key");
        let external = ExternalAccount { id: "1".to_owned(), key_file: key_file.clone() };
        let read = || read_key(&external).map(drop).map_err(|failure| failure.problem);
        assert!(read().expect_err("no file").contains("can't be read"));
        for (text, is_key) in
            [("c2VjcmV0\n", true), ("c2VjcmV0Cg==", true), ("", false), ("sec ret", false)]
        {
            std::fs::write(&key_file, text).expect("written");
            let result = read();
            assert_eq!(result.is_ok(), is_key, "{text}");
            assert!(result.err().is_none_or(|problem| !problem.contains("sec ret")));
        }
    }
}
