//! The one place where the layers around [`forward`] are composed, outermost first.

use std::convert::Infallible;

use tower::{Service, ServiceBuilder, service_fn};

use crate::proxy::forward::{Answered, Inquiry, forward};
use crate::proxy::layers::https_redirect::HttpsRedirectLayer;
use crate::proxy::layers::readiness::ReadinessLayer;

/// What serves the requests of a client.
pub(crate) fn stack() -> impl Service<Inquiry, Response = Answered, Error = Infallible> {
    ServiceBuilder::new()
        // The balancer in front asks the proxy itself; it must get an answer whatever the application does.
        .layer(ReadinessLayer)
        // Before anything of the request goes anywhere.
        .layer(HttpsRedirectLayer)
        .service(service_fn(async |inquiry| Ok::<_, Infallible>(forward(inquiry).await)))
}
