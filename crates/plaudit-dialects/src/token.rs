//! Signed tokens: the right to say one thing of one trace, without a key.
//!
//! A token holds all that the feedback will need, and a signature over it: nothing
//! is stored, and every intake with the same secret knows it. It is used as often
//! as its holder likes until it expires, and makes one feedback all the same,
//! since the feedback's id is in it (**P3**): saying it again is a new version.
//!
//! Not secret: whoever has a token can read it. It names a project, a trace, a
//! metric and a rater, and no key.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use plaudit_event::{Dialect, Micros, Target, Text};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

/// What a token allows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Token<'a> {
    /// The id of the feedback that it makes.
    #[serde(rename = "i")]
    pub id: Uuid,
    /// Whose it is.
    #[serde(borrow, rename = "p")]
    pub project: Text<'a>,
    /// The API that gave it out.
    #[serde(rename = "d")]
    pub dialect: Dialect,
    /// The trace.
    #[serde(borrow, rename = "t")]
    pub trace_id: Text<'a>,
    /// What the feedback is about, when that is not the trace.
    #[serde(borrow, default, rename = "g", skip_serializing_if = "Option::is_none")]
    pub target: Option<Target<'a>>,
    /// The metric.
    #[serde(borrow, rename = "m")]
    pub metric: Text<'a>,
    /// Who will have said it.
    #[serde(borrow, default, rename = "r", skip_serializing_if = "Option::is_none")]
    pub rater: Option<Text<'a>>,
    /// From when on it is worth nothing.
    #[serde(rename = "e")]
    pub expires_at: Micros,
}

/// The secret that tokens are signed with.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

/// The longest that a token may be good: 100 years.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// It is none, or another secret's.
    #[error("the token is not valid here")]
    Invalid,
    /// It was one.
    #[error("the token has expired")]
    Expired,
}

impl TokenKey {
    /// The fewest bytes that a secret may have.
    pub const MIN_BYTES: usize = 32;

    /// A key from a secret; `None` when it is too short to be one.
    pub fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() < Self::MIN_BYTES {
            return None;
        }
        Hmac::new_from_slice(secret).ok().map(Self)
    }

    /// The token as text that fits into a URL.
    pub fn sign(&self, token: &Token<'_>) -> String {
        let content = serde_json::to_vec(token).unwrap_or_default();
        let mut text = URL_SAFE_NO_PAD.encode(content);
        let signature = self.0.clone().chain_update(&text).finalize().into_bytes();
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        text
    }

    /// What a token allows at the time `now`.
    ///
    /// # Errors
    /// [`TokenError`], and nothing of the token is to be believed.
    pub fn open(&self, text: &str, now: Micros) -> Result<Token<'static>, TokenError> {
        let (content, signature) = text.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature);
        let signature = signature.map_err(|_| TokenError::Invalid)?;
        let mac = self.0.clone().chain_update(content);
        mac.verify_slice(&signature)
            .map_err(|_| TokenError::Invalid)?;
        let content = URL_SAFE_NO_PAD.decode(content);
        let content = content.map_err(|_| TokenError::Invalid)?;
        let token: Token<'_> = serde_json::from_slice(&content).map_err(|_| TokenError::Invalid)?;
        if token.expires_at <= now {
            return Err(TokenError::Expired);
        }
        Ok(token.into_owned())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl Token<'_> {
    fn into_owned(self) -> Token<'static> {
        Token {
            id: self.id,
            project: self.project.into_owned(),
            dialect: self.dialect,
            trace_id: self.trace_id.into_owned(),
            target: self.target.map(Target::into_owned),
            metric: self.metric.into_owned(),
            rater: self.rater.map(Text::into_owned),
            expires_at: self.expires_at,
        }
    }
}

/// When what is good for `lifetime` expires.
pub(crate) fn after(now: Micros, lifetime: Duration) -> Micros {
    let micros = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
    Micros(now.0.saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_a_token_is_believed_as_it_was_signed_and_until_it_expires() {
        let key = TokenKey::new(&[7; 32]).unwrap();
        let token = Token {
            id: Uuid::nil(),
            project: "p".into(),
            dialect: Dialect::Native,
            trace_id: "t \"1\"".into(),
            target: None,
            metric: "m".into(),
            rater: Some("r".into()),
            expires_at: Micros(10),
        };
        let text = key.sign(&token);
        assert_eq!(key.open(&text, Micros(9)), Ok(token));
        assert_eq!(key.open(&text, Micros(10)), Err(TokenError::Expired));
        let other = TokenKey::new(&[8; 32]).unwrap();
        assert_eq!(other.open(&text, Micros(9)), Err(TokenError::Invalid));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                key.open(&changed, Micros(9)),
                Err(TokenError::Invalid),
                "byte {at}"
            );
        }
        assert!(TokenKey::new(&[7; 31]).is_none());
    }
}
