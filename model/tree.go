package model

// A document, in JSON or YAML, is first read into a tree of nodes. The tree
// keeps what the binder needs to judge and name every value: all members in
// order, duplicates included, and the text of scalars as it was written.

type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeText
	nodeList
	nodeObject
)

// node is one value of a document.
type node struct {
	kind nodeKind
	// plain marks a YAML scalar without quotes or tag. Where text is wanted it
	// is taken as written, whatever it looks like.
	plain bool
	// text is the content of a text, or a number, boolean or null as written.
	text string
	// items are the elements of a list or the values of an object, whose names
	// are in names.
	items []node
	names []string
}

// describe names the kind of a value for a message.
func (n *node) describe() string {
	switch n.kind {
	case nodeNull:
		return "null"
	case nodeBool:
		return "a boolean"
	case nodeNumber:
		return "a number"
	case nodeText:
		return "text"
	case nodeList:
		return "a list"
	default:
		return "an object"
	}
}

// has tells whether an object has a member.
func (n *node) has(name string) bool {
	for _, have := range n.names {
		if have == name {
			return true
		}
	}
	return false
}

// budget bounds what the reading of one document may use.
type budget struct {
	values int
	bytes  int
}

func newBudget() budget { return budget{values: maxValues, bytes: maxExpandedBytes} }

// spend accounts for one value and the length of its text.
func (b *budget) spend(length int) error {
	b.values--
	b.bytes -= length
	switch {
	case b.values < 0:
		return Errorf(CodeInvalid, "more than %d values", maxValues)
	case b.bytes < 0:
		return Errorf(CodeInvalid, "more than %d bytes of text", maxExpandedBytes)
	}
	return nil
}

// nest checks the depth of a list or object: itself and those around it.
func nest(depth int) error {
	if depth > maxDepth {
		return Errorf(CodeInvalid, "nested deeper than %d levels", maxDepth)
	}
	return nil
}
