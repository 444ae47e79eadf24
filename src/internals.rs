//! The inside, for this repository's tests, benches and fuzz targets. Nothing here is a promise to anybody else.

pub mod fuzzing;
pub mod samples;

pub mod config {
    pub use crate::config::{AccessLog, Config, HostPattern, LogConfig, LogFormat, RouteConfig};

    pub mod path {
        pub use crate::config::path::normal;
    }
}

pub mod domain {
    pub mod analysis {
        pub use crate::domain::analysis::Thresholds;
    }

    pub mod clock {
        pub use crate::domain::clock::Now;
    }

    pub mod color {
        pub use crate::domain::color::{Color, PerColor};
    }

    pub mod deployment {
        pub use crate::domain::deployment::{
            Deployment, DeploymentId, Mode, OnClientErrors, OnInsufficient, OnUnsafe, Plan, Policy, Stage, Wishes,
        };
    }

    pub mod force {
        pub use crate::domain::force::{Force, Guard};
    }

    pub mod gate {
        pub use crate::domain::gate::{CheckReport, GatePolicy, Probed};
    }

    pub mod release {
        pub use crate::domain::release::Release;
    }

    pub mod rollout {
        pub use crate::domain::rollout::{
            Checks, Command, CommandId, CommitId, Configured, DrainId, Effect, Event, Fitness, Outcome, Overlap,
            Refusal, Rollout, RoundId, Target, Terms,
        };
    }

    pub mod schema {
        pub use crate::domain::schema::{Barrier, FirstWrite, Label, Labels, Lineage, Reading, Safety, Version};
    }

    pub mod split {
        pub use crate::domain::split::Weight;
    }

    pub mod transition {
        pub use crate::domain::transition::{
            Decision, Drained, FileOrder, Generation, InFlight, Kind, Origin, Transition, Trigger,
        };
    }

    pub mod verdict {
        pub use crate::domain::verdict::{Class, Finding, Judgement, Sample, Verdict, Veto};
    }
}

pub mod evidence {
    pub mod routes {
        pub use crate::evidence::routes::{Counts, RouteId, Sampler};
    }
}

pub mod proxy {
    pub mod clock {
        pub use crate::proxy::clock::millis;
    }

    pub mod drain {
        pub use crate::proxy::drain::Drain;
    }

    pub mod live {
        pub use crate::proxy::live::Live;
    }

    pub mod publisher {
        pub use crate::proxy::publisher::Publisher;
    }

    pub mod snapshot {
        pub mod route {
            pub use crate::proxy::snapshot::route::RouteTable;
        }
    }
}

pub mod server {
    pub mod plane {
        pub use crate::server::plane::Plane;
    }
}

pub mod sys {
    pub mod limits {
        pub use crate::sys::limits::raise_open_files;
    }
}

pub mod telemetry {
    pub mod access_log {
        pub use crate::telemetry::access_log::AccessLogWriter;
    }
}

pub mod wire {
    pub mod proxy_protocol {
        pub use crate::wire::proxy_protocol::{Malformed, Parsed, begins, parse};
    }
}
