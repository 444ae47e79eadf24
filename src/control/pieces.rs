//! Work for each of many endpoints, in pieces: between two of them, commands and requests have their turn.

use tokio::task::JoinSet;

use crate::proxy::precedence;

/// Checks of endpoints that begin in a row; each takes 30 to 50 µs.
const AT_ONCE: usize = 4;

/// Begins all of the tasks, which run at the same time. A rollback does not make way for requests.
pub(super) async fn begin<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
    goes_back: bool,
) -> JoinSet<T> {
    let mut begun = JoinSet::new();
    for task in tasks {
        if !begun.is_empty() && begun.len().is_multiple_of(AT_ONCE) {
            // The runtime looks for new commands before it returns here.
            tokio::task::yield_now().await;
            if !goes_back {
                precedence::take_turns();
            }
        }
        begun.spawn(task);
    }
    begun
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_command_has_its_turn_before_all_endpoints_were_asked() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let tasks = (0..1000).map(move |number| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { number }
        });
        let all = tokio::spawn(begin(tasks, false));
        let command = tokio::spawn(async move { asked.load(Ordering::Relaxed) });
        let asked_before = command.await.expect("no panic");
        assert!(asked_before <= AT_ONCE + 1, "{asked_before}");
        assert_eq!(all.await.expect("no panic").join_all().await.len(), 1000);
    }
}
