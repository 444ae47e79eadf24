//! The table of routes: by host, then by the longest path prefix on segment boundaries.
//!
//! It is built when a snapshot is compiled. A lookup walks the segments of the path, one hash each, so its cost depends
//! on the path and not on the number of routes. Paths are compared in their [normal form](crate::config::path), so
//! every spelling of a path has the same route; endpoints get the original.

use std::hash::Hasher;

use crate::config::path::normal;
use crate::config::{HostPattern, RouteConfig};
use crate::proxy::hash::Map;
use crate::proxy::headers::without_port;

pub(crate) type UpstreamIndex = usize;

#[derive(Debug)]
pub struct RouteTable<T = UpstreamIndex> {
    exact: Map<Box<str>, Paths<T>>,
    below: Map<Box<str>, Paths<T>>,
    any: Paths<T>,
}

impl<T: Copy + Default> RouteTable<T> {
    /// Without routes everything goes to upstream 0.
    pub fn new(routes: &[RouteConfig], of: impl Fn(&RouteConfig) -> T) -> RouteTable<T> {
        let mut table = RouteTable { exact: Map::default(), below: Map::default(), any: Paths::default() };
        if routes.is_empty() {
            table.any.root = Some(T::default());
        }
        for route in routes {
            let paths = match &route.host {
                HostPattern::Any => &mut table.any,
                HostPattern::Exact(name) => table.exact.entry(name.as_str().into()).or_default(),
                HostPattern::Below(name) => table.below.entry(name.as_str().into()).or_default(),
            };
            paths.insert(&route.path, of(route));
        }
        table
    }

    /// `host` may have a port and be in any case. The more specific host wins, then the longest prefix; a host without
    /// a matching route falls through to the next wider one.
    pub fn find(&self, host: &str, path: &str) -> Option<T> {
        if !self.exact.is_empty() || !self.below.is_empty() {
            let name = without_port(host);
            let name = name.strip_suffix('.').unwrap_or(name);
            let lowered;
            let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                lowered = name.to_ascii_lowercase();
                lowered.as_str()
            } else {
                name
            };
            if let Some(found) = self.exact.get(name).and_then(|paths| paths.find(path)) {
                return Some(found);
            }
            if !self.below.is_empty() {
                let mut rest = name;
                while let Some((_, parent)) = rest.split_once('.') {
                    if let Some(found) = self.below.get(parent).and_then(|paths| paths.find(path)) {
                        return Some(found);
                    }
                    rest = parent;
                }
            }
        }
        self.any.find(path)
    }
}

/// The prefixes of one host, as a tree of segments: `(node, segment) -> node`.
#[derive(Debug)]
pub(crate) struct Paths<T> {
    root: Option<T>,
    edges: Map<(u32, Box<str>), u32>,
    /// By node, from 1: the route whose prefix ends there.
    ends: Vec<Option<T>>,
}

impl<T> Default for Paths<T> {
    fn default() -> Paths<T> {
        Paths { root: None, edges: Map::default(), ends: Vec::new() }
    }
}

impl<T: Copy> Paths<T> {
    pub(crate) fn insert(&mut self, prefix: &str, route: T) {
        let mut node = 0;
        for segment in normal(prefix).split('/').filter(|segment| !segment.is_empty()) {
            let next = u32::try_from(self.ends.len() + 1).expect("fewer than 2^32 segments in a configuration");
            node = *self.edges.entry((node, segment.into())).or_insert_with(|| {
                self.ends.push(None);
                next
            });
        }
        match node {
            0 => self.root = Some(route),
            node => self.ends[node as usize - 1] = Some(route),
        }
    }

    pub(crate) fn find(&self, path: &str) -> Option<T> {
        let mut best = self.root;
        if self.edges.is_empty() {
            return best;
        }
        let mut node = 0;
        let path = &*normal(path);
        for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
            match self.edges.get(&Edge { node, segment } as &dyn EdgeKey) {
                Some(next) => node = *next,
                None => break,
            }
            best = self.ends[node as usize - 1].or(best);
        }
        best
    }
}

/// Looks up `(u32, Box<str>)` by a borrowed segment, without an allocation.
trait EdgeKey {
    fn parts(&self) -> (u32, &str);
}

struct Edge<'a> {
    node: u32,
    segment: &'a str,
}

impl EdgeKey for Edge<'_> {
    fn parts(&self) -> (u32, &str) {
        (self.node, self.segment)
    }
}

impl EdgeKey for (u32, Box<str>) {
    fn parts(&self) -> (u32, &str) {
        (self.0, &self.1)
    }
}

impl<'a> std::borrow::Borrow<dyn EdgeKey + 'a> for (u32, Box<str>) {
    fn borrow(&self) -> &(dyn EdgeKey + 'a) {
        self
    }
}

impl std::hash::Hash for dyn EdgeKey + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (node, segment) = self.parts();
        node.hash(state);
        segment.hash(state);
    }
}

impl PartialEq for dyn EdgeKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn EdgeKey + '_ {}

#[cfg(test)]
mod tests;
