//! Which route a path belongs to, however it is spelled.

use crate::application::Application;
use crate::proxy::{Proxy, Setup};

/// A proxy with the routes `/admin` and `/public` beside `/`; each upstream has an application of its own.
async fn routed() -> (Proxy, [Application; 3]) {
    let all = [Application::start("web").await, Application::start("admin").await, Application::start("public").await];
    let mut setup = Setup::new(&all[0], &all[0]);
    let upstreams = format!("admin = [\"{}\"]\npublic = [\"{}\"]", all[1].address, all[2].address);
    setup.blue.push_str(&format!("\n[blue.upstreams]\n{upstreams}"));
    setup.green.push_str(&format!("\n[green.upstreams]\n{upstreams}"));
    for (path, upstream) in [("/", "default"), ("/admin", "admin"), ("/public", "public")] {
        setup.more.push_str(&format!("[[route]]\npath = \"{path}\"\nupstream = \"{upstream}\"\n"));
    }
    (setup.start().await, all)
}

#[tokio::test]
async fn no_other_spelling_of_a_path_gets_past_its_route_and_endpoints_get_it_as_it_came() {
    let (proxy, [web, admin, public]) = routed().await;
    let rows = [
        (
            &admin,
            &[
                "/admin",
                "/admin/x?y",
                "//admin",
                "/admin//x",
                "/./admin",
                "/admin/.",
                "/%61dmin",
                "/%61%64%6D%69%6e/x",
                "/admin;x",
                "/admin;x=1/y",
                "/;x/admin",
                "/admin%2Fx",
                "/admin%3Bx",
                "/public/../admin",
                "/public/%2e%2e/admin",
                "/public/.%2E/admin",
                "/public/..%2fadmin",
                "/public%2f..%2fadmin",
                "/public/..;/admin",
                "/public;a/..;b/admin;c",
                "/public\\..\\admin",
                "/x/../admin",
                "/../admin",
                "/public/x/../../admin",
            ][..],
        ),
        (&public, &["/public", "/public/a%20b", "/admin/../public", "/public/a;b/../c"][..]),
        (&web, &["/", "/ADMIN", "/administration", "/%2561dmin", "/admin/..", "/x;admin", "/.well-known/admin"][..]),
    ];
    for (application, paths) in rows {
        for path in paths {
            for other in [&web, &admin, &public] {
                other.forget();
            }
            let answer = proxy.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(application.last_head().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path}");
            let heads = [&web, &admin, &public].map(|each| each.heads().len());
            assert_eq!(heads.iter().sum::<usize>(), 1, "{path}: {heads:?}");
        }
    }
}
