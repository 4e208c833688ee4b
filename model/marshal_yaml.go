package model

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"
)

// MarshalYAML writes v as YAML for people: the fields, names and order of its
// JSON form. Text that a reader of YAML could take for something else is
// quoted. JSON that is at hand as bytes is passed as a json.RawMessage.
func MarshalYAML(v any) ([]byte, error) {
	data, err := json.Marshal(v, documentOptions)
	if err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	root, _, err := newJSONReader(data, budget{values: math.MaxInt, bytes: math.MaxInt}).next()
	if err != nil {
		return nil, fmt.Errorf("read back JSON: %w", err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(yamlNode(root)); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("finish YAML: %w", err)
	}
	return out.Bytes(), nil
}

func yamlNode(n *node) *yaml.Node {
	switch n.kind {
	case nodeNull:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	case nodeBool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: n.text}
	case nodeNumber:
		return yamlNumber(n.text)
	case nodeText:
		return yamlText(n.text)
	case nodeList:
		y := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range n.items {
			y.Content = append(y.Content, yamlNode(&n.items[i]))
		}
		return compactIfEmpty(y)
	default:
		y := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i := range n.items {
			y.Content = append(y.Content, yamlText(n.names[i]), yamlNode(&n.items[i]))
		}
		return compactIfEmpty(y)
	}
}

// compactIfEmpty writes an empty list or object as [] or {}.
func compactIfEmpty(y *yaml.Node) *yaml.Node {
	if len(y.Content) == 0 {
		y.Style = yaml.FlowStyle
	}
	return y
}

func yamlNumber(text string) *yaml.Node {
	tag := "!!int"
	if strings.ContainsAny(text, ".eE") {
		tag = "!!float"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

func yamlText(text string) *yaml.Node {
	y := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	switch {
	case !isPrintable(text):
		y.Style = yaml.DoubleQuotedStyle
	case strings.Contains(text, "\n"):
		y.Style = yaml.LiteralStyle
	case isAmbiguous(text):
		y.Style = yaml.DoubleQuotedStyle
	}
	return y
}

// isPrintable tells whether text can be written without escapes.
func isPrintable(text string) bool {
	for _, r := range text {
		if (r < ' ' && r != '\n') || (r >= 0x7f && r <= 0x9f) || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0xfffe && r <= 0xffff {
			return false
		}
	}
	return true
}

// isAmbiguous tells whether some reader of YAML, of any version, would take
// plain text for a number, a time, a boolean or null.
func isAmbiguous(text string) bool {
	if text == "" {
		return true
	}
	if strings.IndexByte("+-.0123456789", text[0]) >= 0 {
		return true
	}
	switch strings.ToLower(text) {
	case "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<":
		return true
	}
	return false
}
