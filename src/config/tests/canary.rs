//! `[canary]`, `[analysis]` and `[bake]`.

use super::*;

#[test]
fn steps_are_shares_to_a_hundredth_of_a_percent() {
    let config = good(&plus("[canary]\nsteps = [\"0.01%\", \"0.5%\", \"12 %\", \"99.99%\"]"));
    assert_eq!(config.canary.steps, [1, 50, 1_200, 9_999].map(share));
}

#[test]
fn what_keeps_a_user_on_one_color_is_one_string() {
    let sticky = |text: &str| good(&plus(&format!("[canary]\nsticky = \"{text}\""))).canary.sticky;
    assert_eq!(sticky("off"), Sticky::Off);
    assert_eq!(sticky("address"), Sticky::Address);
    let own = VisitorCookie { name: "cutover_visitor".to_owned(), max_age: Duration::from_secs(30 * 86_400) };
    assert_eq!(sticky("cookie"), Sticky::Own(Arc::new(own)));
    for text in ["off", "address", "cookie", "cookie:Session", "header:X-User"] {
        let sticky = sticky(text);
        assert_eq!(Sticky::from_record(&sticky.recorded()), Some(sticky), "{text} can be recorded");
    }
    assert_eq!(["", "own", "own:x:y", "else"].map(Sticky::from_record), [None, None, None, None]);
    assert_eq!(sticky("cookie:Session"), Sticky::Cookie("Session".to_owned()));
    assert_eq!(sticky("header:X-User"), Sticky::Header("x-user".to_owned()));
}

#[test]
fn what_is_wrong_with_a_canary_is_said_with_its_repair() {
    for (added, message, help) in [
        ("[canary]\nsteps = []", "`canary.steps` has 0 steps", "write `steps = ["),
        ("[canary]\nsteps = [\"5%\", \"5%\"]", "`canary.steps` do not grow: 5 % comes after 5 %", "smallest first"),
        ("[canary]\nsteps = [\"100%\"]", "`canary.steps` is \"100%\"; it goes from 0.01 % to 99.99 %", ""),
        ("[canary]\nsteps = [\"0.005%\"]", "to hundredths of a percent", ""),
        ("[canary]\nsteps = [\"5\"]", "`canary.steps` is \"5\", which is not a percentage", "with its sign"),
        ("[canary]\nmax_step = \"10s\"", "`canary.max_step` is 10s, and a step lasts at least", "30s or more"),
        ("[canary]\nsticky = \"cookies\"", "`canary.sticky` is \"cookies\"", "\"cookie:NAME\""),
        ("[canary]\ncookie_name = \"a b\"", "`canary.cookie_name` is \"a b\", which is not the name", "use letters"),
        ("[canary]\ncookie_max_age = \"1s\"", "`canary.cookie_max_age` is \"1s\"; it goes from 1h to", ""),
        ("[canary]\nsticky = \"header:a b\"", "`canary.sticky` is \"header:a b\"", "\"header:NAME\""),
        ("[canary]\nroutes = [\"checkout\"]", "`canary.routes` is \"checkout\", which is not a path", "begin it"),
        ("[canary]\nroutes = [\"/a\", \"/a/\"]", "is in `canary.routes` twice", "keep one"),
        ("[canary]\nmode = \"auto\"", "`canary.mode` is \"auto\"", "\"enforce\", \"observe\" or \"off\""),
        ("[canary]\nstep = []", "[canary] has no key `step`", "did you mean `steps`?"),
        ("[analysis]\npass_beta = 0.9", "`analysis.pass_beta` is 0.9; it goes from 0.000001 to 0.5", ""),
        ("[analysis]\npass_beta = \"5%\"", "`analysis.pass_beta` is a string; it has to be a number", ""),
        ("[analysis]\nlatency_margin = 0", "`analysis.latency_margin` is 0; it goes from 1 to 100", ""),
        ("[analysis]\nerror_floor = 0.005", "`analysis.error_floor` is a number without a unit", "with its sign"),
        ("[[analysis.event]]\nbad = \"more\"", "[analysis.event] has no `name`", "add `name = \"order\"`"),
        (
            "[[analysis.event]]\nname = \"a b\"\nbad = \"more\"",
            "`analysis.event.name` is \"a b\", which is no token",
            "",
        ),
        (
            "[[analysis.event]]\nname = \"a\"\nbad = \"less\"",
            "`analysis.event.bad` is \"less\"",
            "\"more\" or \"fewer\"",
        ),
        ("[[analysis.event]]\nname = \"a\"\nbad = \"fewer\"\ntolerate = \"95%\"", "it goes from 1 % to 90 %", ""),
        ("[[analysis.event]]\nname = \"a\"\nbad = \"more\"\nper_request = 0", "it goes from 1 to 1000", ""),
        (
            "[[analysis.event]]\nname = \"a\"\nbad = \"more\"\n[[analysis.event]]\nname = \"a\"\nbad = \"more\"",
            "there is another event with the name \"a\"",
            "keep one",
        ),
        (
            "[[analysis.event]]\nname = \"a\"\nbad = \"more\"\nshare = \"30%\"\n\
             [[analysis.event]]\nname = \"b\"\nbad = \"more\"\nshare = \"21%\"",
            "add up to more than 50 %",
            "smaller",
        ),
        ("[analysis]\nignore = { agents = [\"\"] }", "`analysis.ignore.agents` has \"\"", "such as \"UptimeRobot\""),
        ("[analysis]\nignore = { paths = [\"a\"] }", "`analysis.ignore.paths` is \"a\", which is not a path", ""),
        ("[analysis]\nignore = { addresses = [\"x\"] }", "\"x\" is not a network", "10.0.0.0/8"),
        ("[analysis.cpu]\npath = \"metrics\"", "`analysis.cpu.path` is \"metrics\", which is not a path", ""),
        ("[bake]\nholdback = \"51%\"", "`bake.holdback` is \"51%\"; it goes from 0 % to 50 %", ""),
    ] {
        let text = bad(&plus(added)).render(false);
        assert!(text.contains(message) && text.contains(help), "{added}:\n{text}");
    }
}

#[test]
fn what_was_read_is_rendered_so_that_it_is_read_again() {
    let text = "[canary]\nsteps = [\"0.25%\"]\nsticky = \"cookie\"\ncookie_name = \"v\"\nroutes = [\"/a\"]\n\
                [analysis]\nlatency_margin = 2\nfalse_rollback_per_deploy = 0.000_01\nwarmup = { requests = 0 }\n\
                cpu = {}\nignore = { paths = [\"/up\"], agents = [\"UptimeRobot\"], addresses = [\"10.0.0.0/8\"] }\n[[analysis.event]]\nname = \"order\"\nbad = \"fewer\"\ntolerate = \"5%\"\n\
                [[analysis.event]]\nname = \"failed\"\nbad = \"more\"\nshare = \"1%\"\nper_request = 10\n\
                [bake]\nholdback = \"2.5%\"\nmode = \"enforce\"";
    let config = good(&plus(text));
    let again = good(&config.render());
    assert_eq!((again.canary, again.analysis, again.bake), (config.canary, config.analysis, config.bake));
}
