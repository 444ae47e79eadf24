//! `Via`, which some origins treat requests by.

use crate::application::pair;
use crate::proxy::{Proxy, Setup};

#[tokio::test]
async fn via_can_be_turned_off() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    assert_eq!(proxy.get("/").await.header("via"), Some("1.1 cutover"));
    assert!(blue.last_head().to_ascii_lowercase().contains("\r\nvia: 1.1 cutover\r\n"));

    let mut setup = Setup::new(&blue, &green);
    setup.more = "[headers]\nvia = false\n".to_owned();
    let proxy = setup.start().await;
    let answer = proxy.get("/").await;
    assert_eq!((answer.text(), answer.header("via")), ("blue", None));
    assert!(!blue.last_head().to_ascii_lowercase().contains("\r\nvia:"), "{}", blue.last_head());
}
