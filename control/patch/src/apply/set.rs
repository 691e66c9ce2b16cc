//! Sets of paths.

use super::element::{Element, Told};
use super::shape::Shape;

/// So few paths are put into their places one by one.
const FEW: usize = 8;

/// A set of paths, ordered. Whole branches are shared by no two sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Ordered by element; none of the nodes is empty.
    pub(crate) nodes: Vec<(Element, Node)>,
}

/// What a set holds at and below one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The path itself is in the set.
    pub(crate) member: bool,
    /// The paths below.
    pub(crate) below: FieldSet,
}

impl Node {
    /// The path itself, nothing below.
    pub(crate) fn leaf() -> Self {
        Self { member: true, below: FieldSet::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether there is no path in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are in it.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|(_, node)| usize::from(node.member) + node.below.len()).sum()
    }

    /// The set of paths of field names: `["metadata", "name"]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.iter().map(|name| Element::field(*name)).collect::<Vec<_>>());
        }
        set
    }

    fn place(&self, element: &Element) -> Result<usize, usize> {
        // What is added in order is found at the end.
        match self.nodes.last() {
            Some((last, _)) if last < element => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|(other, _)| other.cmp(element)),
        }
    }

    pub(crate) fn node(&self, element: &Element) -> Option<&Node> {
        self.place(element).ok().map(|at| &self.nodes[at].1)
    }

    /// What is at and below a field.
    pub(crate) fn field_node(&self, name: &str) -> Option<&Node> {
        let by_name = |element: &Element| match element {
            Element::Field(field) => (**field).cmp(name),
            // Fields come first.
            _ => std::cmp::Ordering::Greater,
        };
        let found = self.nodes.binary_search_by(|(element, _)| by_name(element)).ok()?;
        Some(&self.nodes[found].1)
    }

    pub(crate) fn node_mut(&mut self, element: Element) -> &mut Node {
        let at = match self.place(&element) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, (element, Node::default()));
                at
            }
        };
        &mut self.nodes[at].1
    }

    /// Puts a node in at the end, unless it is empty. In any order, as long as `settle` follows: a set of many paths is
    /// ordered once.
    pub(crate) fn put(&mut self, element: Element, node: Node) {
        if !node.is_empty() {
            self.nodes.push((element, node));
        }
    }

    /// Orders what was put in. What was put in twice becomes one.
    pub(crate) fn settle(&mut self) {
        if self.nodes.is_sorted_by(|a, b| a.0 < b.0) {
            return;
        }
        self.nodes.sort_by(|a, b| a.0.cmp(&b.0));
        self.nodes.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1.member |= next.1.member;
                first.1.below.add(std::mem::take(&mut next.1.below));
            }
            same
        });
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.node_mut(first.clone());
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether the path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.node(first).is_some_and(|node| if rest.is_empty() { node.member } else { node.below.has(rest) })
    }

    /// All paths, ordered: what lies below a path comes after it.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.visit(&mut Vec::new(), &mut |path| paths.push(path.to_vec()));
        paths
    }

    fn visit(&self, prefix: &mut Vec<Element>, visitor: &mut impl FnMut(&[Element])) {
        // Members of one level come before what lies below any of them.
        for (element, node) in &self.nodes {
            if node.member {
                prefix.push(element.clone());
                visitor(prefix);
                prefix.pop();
            }
        }
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            node.below.visit(prefix, visitor);
            prefix.pop();
        }
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.add(other.clone());
        all
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combined(other, |own, other| {
            let other = other?;
            Some(Node { member: own.member && other.member, below: own.below.intersection(&other.below) })
        })
    }

    /// What is in this set and not in the other. A path below one that is in the other stays.
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.subtract(other);
        left
    }

    /// Takes out what is in the other. A path below one that is in the other stays.
    pub fn subtract(&mut self, other: &Self) {
        let mut emptied = false;
        for (element, other) in &other.nodes {
            let Ok(at) = self.place(element) else { continue };
            let node = &mut self.nodes[at].1;
            node.member &= !other.member;
            node.below.subtract(&other.below);
            emptied |= node.is_empty();
        }
        if emptied {
            self.nodes.retain(|(_, node)| !node.is_empty());
        }
    }

    /// Adds what is in the other.
    pub fn add(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if other.nodes.len() < FEW {
            for (element, node) in other.nodes {
                let own = self.node_mut(element);
                own.member |= node.member;
                own.below.add(node.below);
            }
        } else {
            self.nodes.extend(other.nodes);
            self.settle();
        }
    }

    /// What is in this set and neither in the other nor below a path of it.
    pub fn without_branches(&self, other: &Self) -> Self {
        self.combined(other, |own, other| match other {
            None => Some(own.clone()),
            Some(other) if other.member => None,
            Some(other) => Some(Node { member: own.member, below: own.below.without_branches(&other.below) }),
        })
    }

    fn combined(&self, other: &Self, combine: impl Fn(&Node, Option<&Node>) -> Option<Node>) -> Self {
        if other.is_empty() {
            let kept = self.nodes.iter().filter_map(|(element, node)| {
                combine(node, None).filter(|node| !node.is_empty()).map(|node| (element.clone(), node))
            });
            return Self { nodes: kept.collect() };
        }
        let kept = self.nodes.iter().filter_map(|(element, node)| {
            let node = combine(node, other.node(element)).filter(|node| !node.is_empty())?;
            Some((element.clone(), node))
        });
        Self { nodes: kept.collect() }
    }

    /// The paths that have none below them.
    pub fn leaves(&self) -> Self {
        let leaves = self.nodes.iter().map(|(element, node)| {
            let below = node.below.leaves();
            (element.clone(), Node { member: node.member && below.is_empty(), below })
        });
        Self { nodes: leaves.filter(|(_, node)| !node.is_empty()).collect() }
    }

    /// The set with every declared field that has something of it below: structs are no members by themselves.
    pub(crate) fn with_named_fields(&self, shape: Shape<'_>) -> Self {
        let all = self.nodes.iter().map(|(element, node)| {
            let named = matches!(element, Element::Field(name) if shape.declares(name));
            let below = node.below.with_named_fields(shape.below(element));
            (element.clone(), Node { member: node.member || named && !node.below.is_empty(), below })
        });
        Self { nodes: all.collect() }
    }

    /// Does to the set what a schema does that now replaces as a whole what was owned item by item: nothing is owned
    /// below such a place.
    pub(crate) fn collapse(&mut self, shape: Shape<'_>) {
        for (element, node) in &mut self.nodes {
            if node.below.is_empty() {
                continue;
            }
            let inner = shape.below(element);
            if inner.is_atomic() {
                *node = Node::leaf();
            } else {
                node.below.collapse(inner);
            }
        }
    }
}

/// The paths, one a line, as people read them.
impl std::fmt::Display for FieldSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, path) in self.paths().iter().enumerate() {
            let line = if at > 0 { "\n" } else { "" };
            write!(f, "{line}{}", Told(path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> FieldSet {
        let paths: Vec<Vec<&str>> = paths.iter().map(|path| path.split('.').collect()).collect();
        FieldSet::of_fields(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn sets_are_combined_path_by_path() {
        type Operation = fn(&FieldSet, &FieldSet) -> FieldSet;
        fn check(operation: Operation, a: &[&str], b: &[&str], expected: &[&str]) {
            assert_eq!(operation(&set(a), &set(b)), set(expected), "{a:?} {b:?}");
        }
        check(FieldSet::union, &["a", "b.c"], &["a.d", "b.c", "e"], &["a", "a.d", "b.c", "e"]);
        check(FieldSet::union, &[], &["a"], &["a"]);
        check(FieldSet::intersection, &["a", "b.c", "b"], &["a.d", "b.c", "e"], &["b.c"]);
        check(FieldSet::difference, &["a", "a.b", "c.d", "e"], &["a", "c", "c.d.e", "e"], &["a.b", "c.d"]);
        check(FieldSet::difference, &["a.b"], &["a.b"], &[]);
        check(FieldSet::without_branches, &["a.b.c", "a.d", "a.b"], &["a.b"], &["a.d"]);
        check(FieldSet::without_branches, &["a"], &["a.b"], &["a"]);
    }

    #[test]
    fn what_is_put_in_twice_becomes_one() {
        let mut all = FieldSet::default();
        for path in ["b.x", "a", "b", "b.y", "a.z"] {
            all.nodes.extend(set(&[path]).nodes);
        }
        all.settle();
        assert_eq!(all, set(&["a", "a.z", "b", "b.x", "b.y"]));
    }

    #[test]
    fn many_paths_are_added_as_few_are() {
        let names: Vec<String> = (0..50).map(|n| format!("f{}", n * 7 % 50)).collect();
        let (even, odd): (Vec<&str>, Vec<&str>) =
            names.iter().map(String::as_str).partition(|name| name.len() % 2 == 0);
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(set(&even).union(&set(&odd)), set(&all));
        assert_eq!(set(&all).union(&set(&even)), set(&all));
    }

    #[test]
    fn leaves_have_nothing_below() {
        assert_eq!(set(&["a", "a.b", "c", "d.e", "d.e.f"]).leaves(), set(&["a.b", "c", "d.e.f"]));
    }

    #[test]
    fn a_set_tells_its_paths() {
        let set = set(&["b", "a.c", "a"]);
        assert_eq!(set.to_string(), ".a\n.b\n.a.c");
        assert_eq!(set.len(), 3);
        assert!(set.has(&[Element::field("a"), Element::field("c")]));
        assert!(!set.has(&[Element::field("a"), Element::field("b")]));
        assert!(!set.has(&[]));
    }
}
