//! User names, from the machine's user database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{Uid, User};

/// Time for a look-up: one behind LDAP can hang, and a command must not.
const PATIENCE: Duration = Duration::from_millis(500);
const MOST: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Users(Arc<Mutex<HashMap<u32, String>>>);

impl Users {
    /// `None`: no such user, or a failed look-up.
    pub(crate) async fn name(&self, uid: u32) -> Option<String> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known().get(&uid) {
            return Some(name.clone());
        }
        let found = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid)));
        let user = tokio::time::timeout(PATIENCE, found).await.ok()?.ok()?.ok()??;
        let mut known = known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(uid, user.name.clone());
        Some(user.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_has_a_name_and_a_number_without_one_has_none() {
        let users = Users::default();
        for _ in 0..2 {
            assert_eq!(users.name(0).await.as_deref(), Some("root"));
        }
        assert_eq!(users.name(4_294_900_000).await, None);
    }
}
