//! Regular expressions, basic and extended (POSIX), by backtracking with a limit.

use std::rc::Rc;

/// Steps before a match is given up.
const MAX_STEPS: usize = 2_000_000;

enum Node {
    Char(char),
    Any,
    Set(Vec<char>),
    Begin,
    End,
    Edge,
    Group(usize, Vec<Vec<Repeat>>),
    Back(usize),
}

struct Repeat {
    node: Node,
    least: usize,
    most: usize,
}

/// An expression that was read.
pub struct Regex {
    branches: Vec<Vec<Repeat>>,
    ignore_case: bool,
    groups: usize,
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
    extended: bool,
    groups: usize,
}

impl Reader<'_> {
    /// Whether an operator is here: with a backslash in basic expressions, without in extended ones.
    fn operator(&mut self, c: char) -> bool {
        let (mark, escaped) = (self.text.get(self.at), self.text.get(self.at + 1));
        let found = if self.extended { mark == Some(&c) } else { mark == Some(&'\\') && escaped == Some(&c) };
        self.at += if found { if self.extended { 1 } else { 2 } } else { 0 };
        found
    }

    fn branches(&mut self, depth: usize) -> Result<Vec<Vec<Repeat>>, String> {
        if depth > 30 {
            return Err("expression nested too deep".to_owned());
        }
        let mut branches = vec![Vec::new()];
        while self.at < self.text.len() {
            let before = self.at;
            if depth > 0 && self.operator(')') {
                self.at = before;
                break;
            }
            if self.operator('|') {
                branches.push(Vec::new());
                continue;
            }
            let first = branches.last().is_none_or(Vec::is_empty);
            let node = self.node(first, depth)?;
            let (least, most) = self.count()?;
            if let Some(branch) = branches.last_mut() {
                branch.push(Repeat { node, least, most });
            }
        }
        Ok(branches)
    }

    fn node(&mut self, first: bool, depth: usize) -> Result<Node, String> {
        if self.operator('(') {
            self.groups += 1;
            let number = self.groups;
            let branches = self.branches(depth + 1)?;
            if !self.operator(')') {
                return Err("unmatched (".to_owned());
            }
            return Ok(Node::Group(number, branches));
        }
        let c = self.text[self.at];
        self.at += 1;
        let last = self.at == self.text.len()
            || !self.extended && self.text[self.at..].starts_with(&['\\', ')'])
            || !self.extended && self.text[self.at..].starts_with(&['\\', '|']);
        Ok(match c {
            '.' => Node::Any,
            '^' if self.extended || first => Node::Begin,
            '$' if self.extended || last => Node::End,
            '[' => {
                let rest = &self.text[self.at..];
                let (_, used) = crate::shell::set(rest, 'x').ok_or("unmatched [")?;
                self.at += used;
                Node::Set(rest[..used].to_vec())
            }
            '\\' => {
                let c = *self.text.get(self.at).ok_or("trailing backslash")?;
                self.at += 1;
                let class = |text: &str| Node::Set(text.chars().collect());
                match c {
                    'w' => class("[:alnum:]_]"),
                    'W' => class("^[:alnum:]_]"),
                    's' => class("[:space:]]"),
                    'S' => class("^[:space:]]"),
                    'd' => class("0-9]"),
                    'b' | '<' | '>' => Node::Edge,
                    'n' => Node::Char('\n'),
                    't' => Node::Char('\t'),
                    '1'..='9' => Node::Back(c.to_digit(10).unwrap_or(0) as usize),
                    c => Node::Char(c),
                }
            }
            c => Node::Char(c),
        })
    }

    fn count(&mut self) -> Result<(usize, usize), String> {
        let (mut least, mut most) = (1, 1);
        loop {
            if self.text.get(self.at) == Some(&'*') {
                self.at += 1;
                (least, most) = (0, usize::MAX);
            } else if self.operator('+') {
                most = usize::MAX;
            } else if self.operator('?') {
                least = 0;
            } else if self.operator('{') {
                let text: String =
                    self.text[self.at..].iter().take_while(|c| c.is_ascii_digit() || **c == ',').collect();
                self.at += text.len();
                if !self.operator('}') {
                    return Err("unmatched {".to_owned());
                }
                let (from, to) = text.split_once(',').unwrap_or((&text, &text));
                least = from.parse().unwrap_or(0);
                most = to.parse().unwrap_or(usize::MAX);
            } else {
                return Ok((least, most));
            }
        }
    }
}

struct Matcher<'a> {
    text: &'a [char],
    ignore_case: bool,
    groups: Vec<Option<(usize, usize)>>,
    steps: usize,
}

type Next<'n> = &'n mut dyn FnMut(&mut Matcher<'_>, usize) -> bool;

impl Matcher<'_> {
    fn any(&mut self, branches: &[Vec<Repeat>], at: usize, next: Next<'_>) -> bool {
        branches.iter().any(|branch| self.sequence(branch, at, next))
    }

    fn sequence(&mut self, nodes: &[Repeat], at: usize, next: Next<'_>) -> bool {
        match nodes.split_first() {
            None => next(self, at),
            Some((repeat, rest)) => self.repeat(repeat, 0, at, &mut |m, at| m.sequence(rest, at, next)),
        }
    }

    fn repeat(&mut self, repeat: &Repeat, done: usize, at: usize, next: Next<'_>) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        // What matches one sign is repeated without recursion.
        if !matches!(repeat.node, Node::Group(..) | Node::Back(_)) && repeat.most > 1 {
            let mut count = 0;
            while count < repeat.most && self.single(&repeat.node, at + count) == Some(1) {
                count += 1;
            }
            return (repeat.least..=count).rev().any(|n| next(self, at + n));
        }
        let more = done < repeat.most
            && self.one(&repeat.node, at, &mut |m, to| {
                // Nothing, repeated, stays nothing.
                (to > at || done < repeat.least) && m.repeat(repeat, done + 1, to, next)
            });
        more || done >= repeat.least && next(self, at)
    }

    fn one(&mut self, node: &Node, at: usize, next: Next<'_>) -> bool {
        match node {
            Node::Group(number, branches) => {
                let before = self.groups[*number];
                let found = self.any(branches, at, &mut |m, to| {
                    let inner = m.groups[*number].replace((at, to));
                    next(m, to) || {
                        m.groups[*number] = inner;
                        false
                    }
                });
                if !found {
                    self.groups[*number] = before;
                }
                found
            }
            Node::Back(number) => {
                let Some((from, to)) = self.groups.get(*number).copied().flatten() else { return false };
                let same = self.text[at..].starts_with(&self.text[from..to]);
                same && next(self, at + to - from)
            }
            node => self.single(node, at).is_some_and(|used| next(self, at + used)),
        }
    }

    /// How many signs a simple node takes here.
    fn single(&self, node: &Node, at: usize) -> Option<usize> {
        let c = self.text.get(at).copied();
        let fold = |c: char| c.to_lowercase().next().unwrap_or(c);
        match node {
            Node::Begin => (at == 0).then_some(0),
            Node::End => (at == self.text.len()).then_some(0),
            Node::Edge => {
                let word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
                let before = at > 0 && word(self.text.get(at - 1));
                (before != word(c.as_ref())).then_some(0)
            }
            Node::Any => c.map(|_| 1),
            Node::Char(wanted) => (c? == *wanted || self.ignore_case && fold(c?) == fold(*wanted)).then_some(1),
            Node::Set(set) => {
                let holds = |c: char| crate::shell::set(set, c).is_some_and(|(found, _)| found);
                let c = c?;
                let other = if c.is_lowercase() { c.to_uppercase().next() } else { c.to_lowercase().next() };
                (holds(c) || self.ignore_case && other.is_some_and(holds)).then_some(1)
            }
            Node::Group(..) | Node::Back(_) => None,
        }
    }
}

/// Where the whole and each group matched.
pub type Captures = Vec<Option<(usize, usize)>>;

impl Regex {
    pub fn new(text: &str, extended: bool, ignore_case: bool) -> Result<Self, String> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { text: &chars, at: 0, extended, groups: 0 };
        let branches = reader.branches(0)?;
        if reader.at < chars.len() {
            return Err("unmatched )".to_owned());
        }
        Ok(Self { branches, ignore_case, groups: reader.groups })
    }

    /// The first match at or behind `from`.
    pub fn find(&self, text: &[char], from: usize) -> Option<Captures> {
        (from..=text.len()).find_map(|at| {
            let groups = vec![None; self.groups + 1];
            let mut matcher = Matcher { text, ignore_case: self.ignore_case, groups, steps: 0 };
            let mut end = None;
            let found = matcher.any(&self.branches, at, &mut |_, to| {
                end = Some(to);
                true
            });
            let mut groups = matcher.groups;
            groups[0] = end.map(|end| (at, end));
            found.then_some(groups)
        })
    }

    /// Whether it matches anywhere.
    pub fn matches(&self, text: &str) -> bool {
        self.find(&text.chars().collect::<Vec<_>>(), 0).is_some()
    }

    /// What lies between its matches.
    pub fn split(&self, text: &str) -> Vec<Rc<str>> {
        let text: Vec<char> = text.chars().collect();
        let (mut parts, mut begun, mut at) = (Vec::new(), 0, 0);
        let part = |from: usize, to: usize| Rc::from(text[from..to].iter().collect::<String>());
        while let Some((from, to)) = self.find(&text, at).and_then(|groups| groups[0]).filter(|_| at < text.len()) {
            if from == to {
                at = to + 1;
                continue;
            }
            parts.push(part(begun, from));
            (begun, at) = (to, to);
        }
        if !text.is_empty() {
            parts.push(part(begun, text.len()));
        }
        parts
    }
}
