package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// LookupFunc finds an environment variable, as os.LookupEnv does.
type LookupFunc func(name string) (value string, ok bool)

// expand replaces ${NAME} and ${NAME:-default} in text. A default stands in for
// a variable that is unset or empty, as in a shell; a variable that is not set
// and has no default is an error, because a forgotten token must not become an
// empty one. $${ gives a literal ${.
func expand(text string, lookup LookupFunc) (string, error) {
	var out strings.Builder
	for {
		start := strings.Index(text, "${")
		if start < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		if start > 0 && text[start-1] == '$' {
			out.WriteString(text[:start-1] + "${")
			text = text[start+2:]
			continue
		}
		length := strings.IndexByte(text[start:], '}')
		if length < 0 {
			return "", fmt.Errorf("%q has no closing brace", text[start:])
		}
		value, err := expandOne(text[start+2:start+length], lookup)
		if err != nil {
			return "", err
		}
		out.WriteString(text[:start] + value)
		text = text[start+length+1:]
	}
}

// expandOne resolves what stands between the braces.
func expandOne(reference string, lookup LookupFunc) (string, error) {
	name, fallback, hasDefault := strings.Cut(reference, ":-")
	if !validVariable(name) {
		return "", fmt.Errorf("%q is not the name of an environment variable", name)
	}
	value, ok := lookup(name)
	switch {
	case ok && (value != "" || !hasDefault):
		return value, nil
	case hasDefault:
		return fallback, nil
	}
	return "", fmt.Errorf("environment variable %s is not set (write ${%s:-} to allow that)", name, name)
}

func validVariable(name string) bool {
	for i, c := range name {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// expandNodes expands the scalars below n in place. Keys are left alone. An
// alias is not followed: its anchor is expanded where it stands.
func expandNodes(n *yaml.Node, lookup LookupFunc, report func(line int, err error)) {
	switch n.Kind {
	case yaml.ScalarNode:
		if !strings.Contains(n.Value, "${") {
			return
		}
		value, err := expand(n.Value, lookup)
		if err != nil {
			report(n.Line, err)
			return
		}
		n.Value = value
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			n.Tag = "" // a plain ${PORT} becomes the number that it expands to
		}
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			expandNodes(n.Content[i], lookup, report)
		}
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, child := range n.Content {
			expandNodes(child, lookup, report)
		}
	}
}
