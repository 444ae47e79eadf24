//! The one place where the layers around [`forward`] are composed, outermost first.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, service_fn};

use crate::proxy::body::ResponseBody;
use crate::proxy::client::ClientConnection;
use crate::proxy::forward::forward;
use crate::proxy::layers::readiness::ReadinessLayer;

/// The service of one client connection.
pub(crate) fn stack(
    client: &Rc<ClientConnection>,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible> + use<> {
    let forwarding = Rc::clone(client);
    let service = ServiceBuilder::new()
        // The balancer in front asks the proxy itself; it must get an answer whatever the application does.
        .layer(ReadinessLayer::new(Rc::clone(client)))
        .service(service_fn(move |request| {
            let answer = forward(Rc::clone(&forwarding), request);
            async move { Ok::<_, Infallible>(answer.await) }
        }));
    Hyper { client: Rc::clone(client), service: RefCell::new(service) }
}

/// A tower service as hyper's: all of ours are always ready, and hyper calls one at a time.
struct Hyper<S> {
    client: Rc<ClientConnection>,
    service: RefCell<S>,
}

impl<S: Service<Request<Incoming>>> hyper::service::Service<Request<Incoming>> for Hyper<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> S::Future {
        self.client.asked();
        self.service.borrow_mut().call(request)
    }
}
