package model

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlReader reads the YAML documents of an input one after another.
type yamlReader struct {
	decoder *yaml.Decoder
	budget  budget
}

func newYAMLReader(data []byte) *yamlReader {
	// The budget is for the whole input: the parser below has no limits of its
	// own for many small documents.
	return &yamlReader{decoder: yaml.NewDecoder(bytes.NewReader(data)), budget: newBudget()}
}

// next returns the next document and the line it begins on, or io.EOF. An empty
// document is a null.
func (r *yamlReader) next() (*node, int, error) {
	var document yaml.Node
	if err := r.decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, 0, io.EOF
	} else if err != nil {
		return nil, 0, Errorf(CodeInvalid, "malformed YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) == 0 {
		return &node{kind: nodeNull, plain: true}, document.Line, nil
	}
	root := document.Content[0]
	n, err := r.convert(root, 0)
	if err != nil {
		return nil, root.Line, err
	}
	return &n, root.Line, nil
}

// convert turns a parsed value into a node and follows aliases. depth counts
// the lists, objects and aliases around it, so an alias that contains itself
// ends at the depth limit.
func (r *yamlReader) convert(y *yaml.Node, depth int) (node, error) {
	if err := r.budget.spend(len(y.Value)); err != nil {
		return node{}, atLine(y, err)
	}
	if y.Kind != yaml.ScalarNode {
		depth++
	}
	if err := nest(depth); err != nil {
		return node{}, atLine(y, err)
	}
	switch y.Kind {
	case yaml.AliasNode:
		return r.convert(y.Alias, depth)
	case yaml.SequenceNode:
		return r.list(y, depth)
	case yaml.MappingNode:
		return r.object(y, depth)
	case yaml.ScalarNode:
		return scalar(y)
	default:
		return node{}, Errorf(CodeInvalid, "malformed YAML: line %d: unexpected content", y.Line)
	}
}

func scalar(y *yaml.Node) (node, error) {
	if !utf8.ValidString(y.Value) {
		return node{}, Errorf(CodeInvalid, "malformed YAML: line %d: text is not valid UTF-8", y.Line)
	}
	n := node{text: y.Value, plain: y.Style&^yaml.FlowStyle == 0}
	switch y.ShortTag() {
	case "!!null":
		n.kind = nodeNull
	case "!!bool":
		n.kind = nodeBool
	case "!!int", "!!float":
		n.kind = nodeNumber
	case "!!str", "!!timestamp", "!!merge":
		n.kind = nodeText
	default:
		return node{}, Errorf(CodeInvalid, "line %d: the tag %s is not supported", y.Line, echo(y.Tag))
	}
	return n, nil
}

func (r *yamlReader) list(y *yaml.Node, depth int) (node, error) {
	n := node{kind: nodeList, items: make([]node, 0, len(y.Content))}
	for _, element := range y.Content {
		item, err := r.convert(element, depth)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

func (r *yamlReader) object(y *yaml.Node, depth int) (node, error) {
	n := node{kind: nodeObject}
	var merged []node
	for i := 0; i+1 < len(y.Content); i += 2 {
		item, err := r.convert(y.Content[i+1], depth)
		if err != nil {
			return node{}, err
		}
		if y.Content[i].ShortTag() == "!!merge" {
			sources, err := mergeSources(y.Content[i], item)
			if err != nil {
				return node{}, err
			}
			merged = append(merged, sources...)
			continue
		}
		name, err := memberName(y.Content[i])
		if err != nil {
			return node{}, err
		}
		n.names = append(n.names, name)
		n.items = append(n.items, item)
	}
	n.merge(merged)
	return n, nil
}

// memberName returns the text of a key of a mapping.
func memberName(y *yaml.Node) (string, error) {
	for hops := 0; y.Kind == yaml.AliasNode && hops < maxDepth; hops++ {
		y = y.Alias
	}
	if y.Kind != yaml.ScalarNode || !utf8.ValidString(y.Value) {
		return "", Errorf(CodeInvalid, "malformed YAML: line %d: the name of a field must be text", y.Line)
	}
	return y.Value, nil
}

// mergeSources returns the objects that a "<<" member brings in.
func mergeSources(y *yaml.Node, n node) ([]node, error) {
	sources := []node{n}
	if n.kind == nodeList {
		sources = n.items
	}
	for _, source := range sources {
		if source.kind != nodeObject {
			return nil, Errorf(CodeInvalid, "malformed YAML: line %d: << must be given an object or a list of objects", y.Line)
		}
	}
	return sources, nil
}

// merge adds the members of other objects that n does not have; the first
// source that has a member wins.
func (n *node) merge(sources []node) {
	if len(sources) == 0 {
		return
	}
	have := make(map[string]bool, len(n.names))
	for _, name := range n.names {
		have[name] = true
	}
	for _, source := range sources {
		for i, name := range source.names {
			if !have[name] {
				have[name] = true
				n.names = append(n.names, name)
				n.items = append(n.items, source.items[i])
			}
		}
	}
}

// atLine says where a limit was exceeded.
func atLine(y *yaml.Node, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return Errorf(e.Code, "%s (line %d)", e.Message, y.Line)
	}
	return err
}
