package model

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonReader reads the JSON documents of an input one after another.
type jsonReader struct {
	data    []byte
	decoder *jsontext.Decoder
	// limits are for each document, budget is what is left of them.
	limits, budget budget
	// items and names of the lists and objects that are being read, innermost
	// last. Each is copied out once its length is known.
	items []node
	names []string
}

func newJSONReader(data []byte, limits budget) *jsonReader {
	// Duplicate names are let through here: the binder reports them with their
	// path, together with all other problems.
	decoder := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	return &jsonReader{data: data, decoder: decoder, limits: limits}
}

// next returns the next document and the line it begins on, or io.EOF.
func (r *jsonReader) next() (*node, int, error) {
	r.budget = r.limits
	if r.decoder.PeekKind() == jsontext.KindInvalid {
		if _, err := r.decoder.ReadToken(); errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, 0, io.EOF
		} else if err != nil {
			return nil, 0, r.explain(err)
		}
	}
	start := int(r.decoder.InputOffset())
	start += len(r.data[start:]) - len(bytes.TrimLeft(r.data[start:], " \t\r\n"))
	line, _ := r.position(start)
	n, err := r.value(0)
	if err != nil {
		return nil, line, r.explain(err)
	}
	return &n, line, nil
}

// value reads one value; depth is the number of lists and objects around it.
func (r *jsonReader) value(depth int) (node, error) {
	token, err := r.decoder.ReadToken()
	if err != nil {
		return node{}, err
	}
	if err := r.budget.spend(0); err != nil {
		return node{}, err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		return node{kind: nodeNull, text: "null"}, nil
	case jsontext.KindTrue:
		return node{kind: nodeBool, text: "true"}, nil
	case jsontext.KindFalse:
		return node{kind: nodeBool, text: "false"}, nil
	case jsontext.KindNumber:
		return node{kind: nodeNumber, text: token.String()}, nil
	case jsontext.KindString:
		return node{kind: nodeText, text: token.String()}, nil
	case jsontext.KindBeginArray:
		return r.list(depth + 1)
	default:
		return r.object(depth + 1)
	}
}

func (r *jsonReader) list(depth int) (node, error) {
	if err := nest(depth); err != nil {
		return node{}, err
	}
	base := len(r.items)
	for r.decoder.PeekKind() != jsontext.KindEndArray {
		item, err := r.value(depth)
		if err != nil {
			return node{}, err
		}
		r.items = append(r.items, item)
	}
	n := node{kind: nodeList, items: slices.Clone(r.items[base:])}
	r.items = r.items[:base]
	_, err := r.decoder.ReadToken()
	return n, err
}

func (r *jsonReader) object(depth int) (node, error) {
	if err := nest(depth); err != nil {
		return node{}, err
	}
	base, nameBase := len(r.items), len(r.names)
	for r.decoder.PeekKind() != jsontext.KindEndObject {
		name, err := r.name()
		if err != nil {
			return node{}, err
		}
		item, err := r.value(depth)
		if err != nil {
			return node{}, err
		}
		r.names = append(r.names, name)
		r.items = append(r.items, item)
	}
	n := node{kind: nodeObject, items: slices.Clone(r.items[base:]), names: slices.Clone(r.names[nameBase:])}
	r.items, r.names = r.items[:base], r.names[:nameBase]
	_, err := r.decoder.ReadToken()
	return n, err
}

// name reads the name of a member. Those that the model knows cost no memory.
func (r *jsonReader) name() (string, error) {
	quoted, err := r.decoder.ReadValue()
	if err != nil {
		return "", err
	}
	if name, known := knownNames()[string(quoted)]; known {
		return name, nil
	}
	name, err := jsontext.AppendUnquote(nil, quoted)
	return string(name), err
}

// knownNames leads from the quoted name of every field of every document to the
// name.
var knownNames = sync.OnceValue(func() map[string]string {
	names := make(map[string]string)
	for _, t := range documentTypes {
		collectNames(t, names)
	}
	return names
})

var documentTypes = []reflect.Type{
	reflect.TypeFor[Package](), reflect.TypeFor[Deployment](), reflect.TypeFor[RuntimeState](),
	reflect.TypeFor[Cluster](),
}

func collectNames(t reflect.Type, names map[string]string) {
	if t == timeType {
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collectNames(t.Elem(), names)
	case reflect.Struct:
		for i := range t.NumField() {
			if name := memberOf(t.Field(i)); name != "" {
				names[strconv.Quote(name)] = name
			}
			collectNames(t.Field(i).Type, names)
		}
	}
}

// explain turns an error of the tokenizer into one that says where.
func (r *jsonReader) explain(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntactic):
		line, column := r.position(int(syntactic.ByteOffset))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return Errorf(CodeInvalid, "malformed JSON: ends too early, at line %d, column %d", line, column)
		}
		return Errorf(CodeInvalid, "malformed JSON at line %d, column %d: %v", line, column, syntactic.Err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		line, column := r.position(len(r.data))
		return Errorf(CodeInvalid, "malformed JSON: ends too early, at line %d, column %d", line, column)
	default:
		return err
	}
}

// position tells line and column (in characters), both from 1, of an offset.
func (r *jsonReader) position(offset int) (line, column int) {
	before := r.data[:min(max(offset, 0), len(r.data))]
	lineStart := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte{'\n'}) + 1, utf8.RuneCount(before[lineStart:]) + 1
}
