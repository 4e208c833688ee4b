package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Decode reads YAML over c: what the file does not name keeps its value. lookup
// resolves ${VAR}. All errors are reported together, each with its line; c is
// not to be used after one.
func (c *Config) Decode(data []byte, lookup LookupFunc) error {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil // an empty file, or one of comments only
	} else if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("the file holds more than one YAML document")
	}

	shape := shaper{seen: make(map[shaped]bool)}
	expandNodes(&document, lookup, func(line int, err error) { shape.report(line, "", err.Error()) })
	shape.visit(document.Content[0], reflect.TypeFor[Config](), "")
	if len(shape.errs) > 0 {
		return errors.Join(shape.errs...)
	}
	if err := document.Decode(c); err != nil {
		return decodeError(err)
	}
	return nil
}

// decodeError words a yaml error for the user: one line per problem.
func decodeError(err error) error {
	var typeError *yaml.TypeError
	if !errors.As(err, &typeError) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	errs := make([]error, len(typeError.Errors))
	for i, text := range typeError.Errors {
		errs[i] = errors.New(text)
	}
	return errors.Join(errs...)
}

// UnmarshalYAML starts from the defaults of a cluster.
func (c *CRMCluster) UnmarshalYAML(n *yaml.Node) error {
	type plain CRMCluster
	value := plain(DefaultCRMCluster())
	if err := n.Decode(&value); err != nil {
		return err
	}
	*c = CRMCluster(value)
	return nil
}

// A shaper walks a document beside the type that it is to become. It rejects
// keys that the type does not have, brings the other accepted spellings into
// the canonical one, and gives scalars the tags that their targets need.
type shaper struct {
	errs []error
	// seen keeps anchors from being shaped twice, or for ever.
	seen map[shaped]bool
}

type shaped struct {
	node *yaml.Node
	as   reflect.Type
}

func (s *shaper) report(line int, path, message string) {
	if path != "" {
		message = path + ": " + message
	}
	s.errs = append(s.errs, fmt.Errorf("line %d: %s", line, message))
}

func (s *shaper) visit(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if s.seen[shaped{n, t}] {
		return
	}
	s.seen[shaped{n, t}] = true
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case t == reflect.TypeFor[time.Duration]():
		s.duration(n, path)
	case t.Kind() == reflect.Struct:
		s.mapping(n, t, path)
	case t.Kind() == reflect.Map:
		s.table(n, t.Elem(), path)
	case t.Kind() == reflect.Slice:
		s.list(n, t.Elem(), path)
	case n.Kind != yaml.ScalarNode:
		s.report(n.Line, path, "wants a single value")
	case t.Kind() == reflect.String:
		n.Tag = "!!str" // password: 1234 is text
	default:
		s.scalar(n, t, path)
	}
}

// scalar checks a number or a truth value here rather than in the decoder, for
// the sake of an error that names the key.
func (s *shaper) scalar(n *yaml.Node, t reflect.Type, path string) {
	n.Tag, n.Style = "", 0 // a quoted "8080" is a number too
	var err error
	switch t.Kind() {
	case reflect.Int:
		_, err = strconv.Atoi(n.Value)
	case reflect.Bool:
		_, err = strconv.ParseBool(n.Value)
	case reflect.Float64:
		_, err = parseFloat(n.Value)
	default:
		err = fmt.Errorf("type %v is not supported", t)
	}
	if err != nil {
		s.report(n.Line, path, fmt.Sprintf("%q is not a valid %s", n.Value, kindNames[t.Kind()]))
		return
	}
	if t.Kind() == reflect.Bool {
		value, _ := strconv.ParseBool(n.Value)
		n.Value = strconv.FormatBool(value)
	}
}

var kindNames = map[reflect.Kind]string{
	reflect.Int: "number", reflect.Float64: "number", reflect.Bool: "truth value (true or false)",
}

func (s *shaper) duration(n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode {
		s.report(n.Line, path, "wants a single value")
		return
	}
	value, err := ParseDuration(n.Value)
	if err != nil {
		s.report(n.Line, path, err.Error())
		return
	}
	n.Tag, n.Style, n.Value = "!!str", 0, value.String()
}

func (s *shaper) mapping(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.MappingNode {
		s.report(n.Line, path, "wants a section (keys below it)")
		return
	}
	s.respell(n, t, path)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			s.visit(value, t, path)
			continue
		}
		field, ok := fieldByKey(t, key.Value)
		if !ok {
			s.report(key.Line, join(path, key.Value), "unknown key"+suggest(t, key.Value))
			continue
		}
		s.visit(value, field.Type, join(path, key.Value))
	}
}

func (s *shaper) table(n *yaml.Node, elem reflect.Type, path string) {
	if n.Kind != yaml.MappingNode {
		s.report(n.Line, path, "wants a section (names below it)")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			s.visit(n.Content[i+1], reflect.MapOf(reflect.TypeFor[string](), elem), path)
			continue
		}
		n.Content[i].Tag = "!!str"
		s.visit(n.Content[i+1], elem, join(path, n.Content[i].Value))
	}
}

// list also takes one comma-separated value, which is what a variable can hold.
func (s *shaper) list(n *yaml.Node, elem reflect.Type, path string) {
	if n.Kind == yaml.ScalarNode {
		line := n.Line
		parts := splitList(n.Value)
		*n = yaml.Node{Kind: yaml.SequenceNode, Line: line}
		for _, part := range parts {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Line: line, Value: part})
		}
	}
	if n.Kind != yaml.SequenceNode {
		s.report(n.Line, path, "wants a list")
		return
	}
	for i, item := range n.Content {
		s.visit(item, elem, fmt.Sprintf("%s[%d]", path, i))
	}
}

// respell brings other accepted spellings of keys into the canonical one.
func (s *shaper) respell(n *yaml.Node, t reflect.Type, path string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		canonical, ok := spellings[t][key.Value]
		if !ok {
			continue
		}
		if childOf(n, canonical) != nil {
			s.report(key.Line, join(path, key.Value), "is another spelling of "+canonical+", which is given too")
			continue
		}
		key.Value = canonical
	}
	if t == reflect.TypeFor[Server]() {
		s.hostAndPort(n, path)
	}
}

// spellings maps accepted keys to canonical ones, by section.
var spellings = map[reflect.Type]map[string]string{
	reflect.TypeFor[Storage]():    {"storage_type": "type"},
	reflect.TypeFor[CRMCluster](): {"url": "base_url"},
	reflect.TypeFor[TLS](): {
		"ca_cert": "ca_cert_path", "client_cert": "client_cert_path", "client_key": "client_key_path",
	},
}

// hostAndPort turns server.host and server.port into server.http_addr.
func (s *shaper) hostAndPort(n *yaml.Node, path string) {
	host, port, _ := net.SplitHostPort(DefaultConfig().Server.HTTPAddr)
	var rest []*yaml.Node
	var line int
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key, value := n.Content[i], n.Content[i+1]; key.Value {
		case "host":
			host, line = value.Value, key.Line
		case "port":
			port, line = value.Value, key.Line
			if err := checkPort(port); err != nil {
				s.report(key.Line, join(path, "port"), err.Error())
			}
		default:
			rest = append(rest, key, value)
		}
	}
	if line == 0 {
		return
	}
	if childOf(n, "http_addr") != nil {
		s.report(line, path, "give http_addr, or host and port, not both")
		return
	}
	n.Content = append(rest,
		&yaml.Node{Kind: yaml.ScalarNode, Line: line, Value: "http_addr"},
		&yaml.Node{Kind: yaml.ScalarNode, Line: line, Value: net.JoinHostPort(host, port)})
}

func childOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func fieldByKey(t reflect.Type, key string) (reflect.StructField, bool) {
	for field := range t.Fields() {
		if key != "-" && field.Tag.Get("yaml") == key {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
