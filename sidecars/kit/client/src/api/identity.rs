//! The identity service.

use crate::Method;
use crate::call::{Call, Done, segment};
use crate::model::identity::{
    Account, Login, Me, NewAccount, NewPassword, NewToken, Ticket, Token, TokenMade,
};

/// Logs a person in.
#[must_use]
pub fn login(account: &str, password: &str) -> Call<Ticket> {
    Call::post("/v1/login").json(&Login { account: account.to_owned(), password: password.to_owned() })
}

/// A ticket for the API token that the client is given as its bearer.
#[must_use]
pub fn ticket() -> Call<Ticket> {
    Call::post("/v1/ticket")
}

/// Ends the ticket or token that the client is given as its bearer.
#[must_use]
pub fn logout() -> Call<Done> {
    Call::post("/v1/logout")
}

/// Who asks.
#[must_use]
pub fn me() -> Call<Me> {
    Call::get("/v1/me")
}

/// One's own tokens; an administrator sees all.
#[must_use]
pub fn tokens() -> Call<Vec<Token>> {
    Call::get("/v1/tokens")
}

/// Makes a token.
#[must_use]
pub fn make_token(new: &NewToken) -> Call<TokenMade> {
    Call::post("/v1/tokens").json(new)
}

/// Revokes a token.
#[must_use]
pub fn revoke_token(id: &str) -> Call<Done> {
    Call::new(Method::DELETE, format!("/v1/tokens/{}", segment(id)))
}

/// The local accounts.
#[must_use]
pub fn accounts() -> Call<Vec<Account>> {
    Call::get("/v1/accounts")
}

/// Adds a local account.
#[must_use]
pub fn add_account(new: &NewAccount) -> Call<Done> {
    Call::post("/v1/accounts").json(new)
}

/// Disables an account; its tickets and tokens end.
#[must_use]
pub fn disable_account(name: &str) -> Call<Done> {
    Call::post(format!("/v1/accounts/{}/disable", segment(name)))
}

/// Enables an account again; its person logs in anew.
#[must_use]
pub fn enable_account(name: &str) -> Call<Done> {
    Call::post(format!("/v1/accounts/{}/enable", segment(name)))
}

/// Ends the lock of an account before its time.
#[must_use]
pub fn unlock_account(name: &str) -> Call<Done> {
    Call::post(format!("/v1/accounts/{}/unlock", segment(name)))
}

/// Sets a new password.
#[must_use]
pub fn set_password(name: &str, password: &str) -> Call<Done> {
    let new = NewPassword { password: password.to_owned(), expires: None };
    Call::new(Method::PUT, format!("/v1/accounts/{}/password", segment(name))).json(&new)
}
