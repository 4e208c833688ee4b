package model

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonReader reads the JSON documents of an input one after another.
type jsonReader struct {
	data    []byte
	decoder *jsontext.Decoder
	budget  budget
}

func newJSONReader(data []byte) *jsonReader {
	// Duplicate names are let through here: the binder reports them with their
	// path, together with all other problems.
	decoder := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	return &jsonReader{data: data, decoder: decoder}
}

// next returns the next document and the line it begins on, or io.EOF.
func (r *jsonReader) next() (*node, int, error) {
	r.budget = newBudget()
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

// value reads one value. depth is the number of lists and objects around it.
func (r *jsonReader) value(depth int) (node, error) {
	token, err := r.decoder.ReadToken()
	if err != nil {
		return node{}, err
	}
	if err := r.budget.spend(depth, 0); err != nil {
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
	n := node{kind: nodeList}
	for r.decoder.PeekKind() != jsontext.KindEndArray {
		item, err := r.value(depth)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := r.decoder.ReadToken()
	return n, err
}

func (r *jsonReader) object(depth int) (node, error) {
	n := node{kind: nodeObject}
	for r.decoder.PeekKind() != jsontext.KindEndObject {
		token, err := r.decoder.ReadToken()
		if err != nil {
			return node{}, err
		}
		name := token.String()
		item, err := r.value(depth)
		if err != nil {
			return node{}, err
		}
		n.names = append(n.names, name)
		n.items = append(n.items, item)
	}
	_, err := r.decoder.ReadToken()
	return n, err
}

// explain turns an error of the tokenizer into one that says where.
func (r *jsonReader) explain(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntactic):
		line, column := r.position(int(syntactic.ByteOffset))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return Errorf(CodeInvalid, "is malformed JSON: ends too early, at line %d, column %d", line, column)
		}
		return Errorf(CodeInvalid, "is malformed JSON at line %d, column %d: %v", line, column, syntactic.Err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		line, column := r.position(len(r.data))
		return Errorf(CodeInvalid, "is malformed JSON: ends too early, at line %d, column %d", line, column)
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
