//! BER messages taken apart, changed in one place and put together again, the lengths around that
//! place put right: what is wrong is met where it stands, and not by the first length before it.

/// An element; the contents of a constructed one are elements again.
pub struct Node {
    tag: u8,
    contents: Contents,
}

enum Contents {
    Octets(Vec<u8>),
    Elements(Vec<Node>),
}

/// What becomes of one element.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Drop,
    Duplicate,
    /// Contents gone.
    Empty,
    /// The first two elements inside trade places.
    Swap,
    /// Another tag.
    Tag(u8),
    /// These octets in place of the length; the contents stay as they are.
    Length(&'static [u8]),
    /// A length that is so much more or less than the contents.
    LengthBy(isize),
    /// The length in four octets where one would do: the same value in other bytes.
    LongLength,
    /// The indefinite form with its end.
    Indefinite,
}

/// Every change there is. The four octets of length are meant to be larger than any limit, and the
/// four before them than any message.
pub const CHANGES: &[Change] = &[
    Change::Drop,
    Change::Duplicate,
    Change::Empty,
    Change::Swap,
    Change::Tag(0x00),
    Change::Tag(0x01),
    Change::Tag(0x02),
    Change::Tag(0x04),
    Change::Tag(0x0a),
    Change::Tag(0x30),
    Change::Tag(0x31),
    Change::Tag(0x64),
    Change::Tag(0x65),
    Change::Tag(0x79),
    Change::Tag(0x80),
    Change::Tag(0xa0),
    Change::Tag(0xa3),
    Change::Tag(0x1f),
    Change::Tag(0xff),
    Change::Length(&[0]),
    Change::Length(&[1]),
    Change::Length(&[0x7f]),
    Change::Length(&[0x80]),
    Change::Length(&[0x81]),
    Change::Length(&[0x83, 0xff, 0xff, 0xff]),
    Change::Length(&[0x84, 0x03, 0xff, 0xff, 0xff]),
    Change::Length(&[0x84, 0xff, 0xff, 0xff, 0xff]),
    Change::Length(&[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    Change::Length(&[0xff]),
    Change::LengthBy(1),
    Change::LengthBy(-1),
    Change::LengthBy(100),
    Change::LongLength,
    Change::Indefinite,
];

impl Node {
    /// Takes one message apart. The value of a control is BER inside an OCTET STRING: it is taken
    /// apart as well.
    pub fn parse(bytes: &[u8]) -> Option<Node> {
        let (node, rest) = Node::first(bytes)?;
        rest.is_empty().then_some(node)
    }

    fn first(bytes: &[u8]) -> Option<(Node, &[u8])> {
        let [tag, length, rest @ ..] = bytes else { return None };
        let octets = usize::from(length & 0x7f);
        let (length, rest) = match length {
            0..=0x7f => (octets, rest),
            0x80 | 0x85.. => return None,
            _ => {
                let (digits, rest) = rest.split_at_checked(octets)?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        let constructed = tag & 0x20 != 0
            || (matches!(tag, 0x04 | 0x81) && matches!(contents, [0x30 | 0xa1..=0xa3, ..]));
        let elements = if constructed { Node::all(contents) } else { None };
        let contents =
            elements.map_or_else(|| Contents::Octets(contents.to_vec()), Contents::Elements);
        Some((Node { tag: *tag, contents }, rest))
    }

    fn all(mut bytes: &[u8]) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        while !bytes.is_empty() {
            let (node, rest) = Node::first(bytes)?;
            nodes.push(node);
            bytes = rest;
        }
        Some(nodes)
    }

    /// How many elements there are, this one included.
    pub fn count(&self) -> usize {
        match &self.contents {
            Contents::Octets(_) => 1,
            Contents::Elements(nodes) => 1 + nodes.iter().map(Node::count).sum::<usize>(),
        }
    }

    /// The bytes, with the element of that number (from 0, each before those inside it) changed.
    pub fn changed(&self, number: usize, change: Change) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut { number }, change, &mut out);
        out
    }

    /// `left` counts down to the element to be changed, and goes on below.
    fn write(&self, left: &mut usize, change: Change, out: &mut Vec<u8>) {
        let here = *left == 0;
        *left = left.wrapping_sub(1);
        let mut parts: Vec<Vec<u8>> = match &self.contents {
            Contents::Octets(octets) => vec![octets.clone()],
            Contents::Elements(nodes) => {
                let mut write = |node: &Node| {
                    let mut part = Vec::new();
                    node.write(left, change, &mut part);
                    part
                };
                nodes.iter().map(&mut write).collect()
            }
        };
        if here && matches!(change, Change::Swap) && parts.len() > 1 {
            parts.swap(0, 1);
        }
        let contents = parts.concat();
        let len = contents.len();
        let put = |out: &mut Vec<u8>, tag: u8, length: &[u8], contents: &[u8]| {
            out.push(tag);
            out.extend_from_slice(length);
            out.extend_from_slice(contents);
        };
        match change {
            _ if !here => put(out, self.tag, &length(len), &contents),
            Change::Drop => {}
            Change::Duplicate => {
                put(out, self.tag, &length(len), &contents);
                put(out, self.tag, &length(len), &contents);
            }
            Change::Empty => put(out, self.tag, &length(0), &[]),
            Change::Swap => put(out, self.tag, &length(len), &contents),
            Change::Tag(tag) => put(out, tag, &length(len), &contents),
            Change::Length(octets) => put(out, self.tag, octets, &contents),
            Change::LengthBy(by) => {
                put(out, self.tag, &length(len.saturating_add_signed(by)), &contents)
            }
            Change::LongLength => put(out, self.tag, &long_length(len), &contents),
            Change::Indefinite => put(out, self.tag, &[0x80], &[&contents[..], &[0, 0]].concat()),
        }
    }
}

/// A length in its shortest form, or in four octets.
fn length(len: usize) -> Vec<u8> {
    if len < 0x80 { vec![len as u8] } else { long_length(len) }
}

fn long_length(len: usize) -> Vec<u8> {
    [&[0x84], &u32::try_from(len).unwrap().to_be_bytes()[..]].concat()
}
