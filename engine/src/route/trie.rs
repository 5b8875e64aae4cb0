//! The paths of a service, as a tree that gives up telling segments apart where there are too many.

use rustc_hash::FxHashMap;

/// Nodes of one tree. Where a path would need more, its other segments become the wildcard.
const MAX_NODES: usize = 4096;

/// The paths of one service.
#[derive(Debug)]
pub(super) struct Trie {
    root: Node,
    /// All nodes but the root.
    nodes: usize,
    max_children: usize,
    wildcard: String,
    collapses: u64,
}

#[derive(Debug, Default)]
struct Node {
    /// One, the wildcard, when collapsed.
    children: FxHashMap<Box<str>, Node>,
    collapsed: bool,
}

impl Trie {
    /// A place of a path may have `max_children` different segments; any number if that is 0.
    pub(super) fn new(max_children: usize, wildcard: char) -> Self {
        Self {
            root: Node::default(),
            nodes: 0,
            max_children: if max_children == 0 { usize::MAX } else { max_children },
            wildcard: wildcard.to_string(),
            collapses: 0,
        }
    }

    /// How often segments were given up. Until the next time, a path that was inserted keeps its route.
    pub(super) fn collapses(&self) -> u64 {
        self.collapses
    }

    /// Takes note of `path` and appends its route to `route`.
    pub(super) fn insert(&mut self, path: &str, route: &mut String) {
        let trimmed = path.trim_matches('/');
        if trimmed.is_empty() {
            return route.push_str(path);
        }
        let wildcard = &*self.wildcard;
        let mut at = Some(&mut self.root);
        for segment in trimmed.split('/') {
            route.push('/');
            if segment.is_empty() {
                continue;
            }
            let Some(node) = at else {
                route.push_str(wildcard);
                continue;
            };
            if !node.collapsed && !node.children.contains_key(segment) {
                if node.children.len() >= self.max_children {
                    node.collapse(self.max_children, wildcard, &mut self.nodes);
                    self.collapses += 1;
                } else if self.nodes < MAX_NODES {
                    node.children.insert(segment.into(), Node::default());
                    self.nodes += 1;
                }
            }
            let segment = if node.collapsed { wildcard } else { segment };
            at = node.children.get_mut(segment);
            route.push_str(if at.is_some() { segment } else { wildcard });
        }
    }
}

impl Node {
    /// Makes one child of all, and likewise below it where there are too many then.
    fn collapse(&mut self, max_children: usize, wildcard: &str, nodes: &mut usize) {
        let mut merged = Node::default();
        let children = std::mem::take(&mut self.children);
        *nodes -= children.len();
        for child in children.into_values() {
            merged.merge(child, nodes);
        }
        merged.tidy(max_children, wildcard, nodes);
        self.collapsed = true;
        self.children.insert(wildcard.into(), merged);
        *nodes += 1;
    }

    /// Takes in what is below `other`. The result does not depend on the order in which nodes are taken in.
    fn merge(&mut self, other: Node, nodes: &mut usize) {
        self.collapsed |= other.collapsed;
        for (segment, child) in other.children {
            if let Some(known) = self.children.get_mut(&segment) {
                *nodes -= 1;
                known.merge(child, nodes);
            } else {
                self.children.insert(segment, child);
            }
        }
    }

    /// Collapses what has too many children after a merge, or was merged with something collapsed.
    fn tidy(&mut self, max_children: usize, wildcard: &str, nodes: &mut usize) {
        let is_one_wildcard = self.children.len() == 1 && self.children.contains_key(wildcard);
        if self.children.len() > max_children || self.collapsed && !is_one_wildcard {
            self.collapse(max_children, wildcard, nodes);
        } else {
            self.children.values_mut().for_each(|child| child.tidy(max_children, wildcard, nodes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(trie: &mut Trie, path: &str) -> String {
        let mut route = String::new();
        trie.insert(path, &mut route);
        route
    }

    #[test]
    fn a_place_with_too_many_segments_becomes_the_wildcard() {
        let mut trie = Trie::new(3, '*');
        for name in ["/users/alice", "/users/bob", "/users/carol", "/users/alice/"] {
            assert_eq!(insert(&mut trie, name), name.trim_end_matches('/'));
        }
        assert_eq!(trie.collapses(), 0);
        assert_eq!(insert(&mut trie, "/users/dave"), "/users/*");
        assert_eq!(insert(&mut trie, "/users/alice"), "/users/*");
        assert_eq!(insert(&mut trie, "/users"), "/users");
        assert_eq!(trie.collapses(), 1);
        assert_eq!(trie.nodes, 2);
    }

    #[test]
    fn what_is_below_is_merged_and_can_collapse_in_turn() {
        let mut trie = Trie::new(2, '*');
        insert(&mut trie, "/root/one/a");
        insert(&mut trie, "/root/one/b");
        insert(&mut trie, "/root/two/c");
        assert_eq!(insert(&mut trie, "/root/three/d"), "/root/*/*");
        assert_eq!(trie.nodes, 3);

        let mut trie = Trie::new(3, '*');
        for item in ["bear", "car", "shirt"] {
            insert(&mut trie, &format!("/api/one/items/{item}"));
        }
        insert(&mut trie, "/api/one/customers");
        insert(&mut trie, "/api/one/admin");
        assert_eq!(insert(&mut trie, "/api/one/users"), "/api/one/*");
        assert_eq!(insert(&mut trie, "/api/two/items"), "/api/two/items");
        assert_eq!(insert(&mut trie, "/api/three/items"), "/api/three/items");
        assert_eq!(insert(&mut trie, "/api/four/items"), "/api/*/*");
        assert_eq!(insert(&mut trie, "/api/four/items/shirt"), "/api/*/*/shirt");
        assert_eq!(insert(&mut trie, "/api/one/customers/list"), "/api/*/*/*");
    }

    #[test]
    fn deeper_places_survive_a_merge() {
        let mut trie = Trie::new(2, '*');
        insert(&mut trie, "/test/one/files/x/end");
        insert(&mut trie, "/test/two/files/y/end");
        assert_eq!(insert(&mut trie, "/test/three/files/z/end"), "/test/*/files/*/end");
    }

    #[test]
    fn no_limit_and_no_path() {
        let mut trie = Trie::new(0, '*');
        for number in 0..100 {
            let path = format!("/a/{number}");
            assert_eq!(insert(&mut trie, &path), path);
        }
        assert_eq!(insert(&mut trie, ""), "");
        assert_eq!(insert(&mut trie, "/"), "/");
        assert_eq!(insert(&mut trie, "/a//1/"), "/a//1");
    }

    #[test]
    fn nodes_are_bounded_and_counted_right() {
        fn count(node: &Node) -> usize {
            node.children.values().map(|child| 1 + count(child)).sum()
        }
        let mut trie = Trie::new(19, '#');
        let mut seed = 1_u64;
        let mut digit = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 40) % 19
        };
        for _ in 0..20_000 {
            let path: Vec<String> = (0..6).map(|_| digit().to_string()).collect();
            insert(&mut trie, &path.join("/"));
        }
        assert_eq!(trie.nodes, MAX_NODES);
        assert_eq!(count(&trie.root), MAX_NODES);
        let route = insert(&mut trie, "/1/1/new/1/1/1");
        assert!(route.contains('#') && route.starts_with("/1/1/"), "{route}");
        assert_eq!(trie.collapses(), 0);
        assert_eq!(insert(&mut trie, "/x"), "/#");
        assert_eq!(trie.collapses(), 1);
        assert_eq!(count(&trie.root), trie.nodes);
        assert!(trie.nodes < MAX_NODES);
    }
}
