package model

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// textOf returns the text of a scalar that may stand where text is wanted: a
// text, or any YAML scalar without quotes, as it was written.
func textOf(n *node) (string, bool) {
	if n.kind == nodeText || (n.plain && n.kind < nodeText) {
		return n.text, true
	}
	return "", false
}

func bindText(b *binding, n *node, v reflect.Value) {
	text, ok := textOf(n)
	if !ok {
		b.report("must be text, got %s", n.describe())
		return
	}
	v.SetString(text)
}

func makeEnumBinder(allowed []string, anyCase bool) bindFunc {
	return func(b *binding, n *node, v reflect.Value) {
		text, ok := textOf(n)
		at := slices.IndexFunc(allowed, func(value string) bool {
			return value == text || anyCase && strings.EqualFold(value, text)
		})
		switch {
		case !ok:
			b.report("must be one of %s, got %s", strings.Join(allowed, ", "), n.describe())
		case at < 0:
			b.report("must be one of %s, got %s", strings.Join(allowed, ", "), echo(text))
		default:
			v.SetString(allowed[at])
		}
	}
}

// bindNumberText is for text that may also be given as a number: 30 for "30".
func bindNumberText(b *binding, n *node, v reflect.Value) {
	if n.kind == nodeNumber {
		v.SetString(n.text)
		return
	}
	bindText(b, n, v)
}

func bindBool(b *binding, n *node, v reflect.Value) {
	switch {
	case n.kind != nodeBool:
		b.report("must be true or false, got %s", n.describe())
	case strings.EqualFold(n.text, "true"):
		v.SetBool(true)
	case !strings.EqualFold(n.text, "false"):
		// A YAML tag can call anything a boolean.
		b.report("must be true or false, got %s", echo(n.text))
	}
}

func bindUint(b *binding, n *node, v reflect.Value) {
	if n.kind != nodeNumber {
		b.report("must be a whole number, got %s", n.describe())
		return
	}
	limit := uint64(math.MaxUint64) >> (64 - v.Type().Bits())
	value, err := parseUint(n)
	switch {
	case strings.HasPrefix(n.text, "-"):
		b.report("must not be negative, got %s", n.text[:min(len(n.text), maxEcho)])
	case errors.Is(err, strconv.ErrRange), err == nil && value > limit:
		b.report("must be at most %d, got %s", limit, n.text[:min(len(n.text), maxEcho)])
	case err != nil:
		b.report("must be a whole number, got %s", n.text[:min(len(n.text), maxEcho)])
	default:
		v.SetUint(value)
	}
}

var yamlRadixes = []struct {
	prefix string
	base   int
}{{"0x", 16}, {"0o", 8}, {"0b", 2}}

// parseUint reads a whole number. YAML also has 0x, 0o and 0b; a leading zero
// is refused, since readers of YAML disagree on whether it means octal.
func parseUint(n *node) (uint64, error) {
	text := n.text
	base := 10
	if n.plain {
		text = strings.TrimPrefix(text, "+")
		for _, radix := range yamlRadixes {
			if digits, ok := strings.CutPrefix(text, radix.prefix); ok {
				text, base = digits, radix.base
				break
			}
		}
	}
	if base == 10 && len(text) > 1 && text[0] == '0' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(text, base, 64)
}

func bindFloat(b *binding, n *node, v reflect.Value) {
	if n.kind != nodeNumber {
		b.report("must be a number, got %s", n.describe())
		return
	}
	shown := n.text[:min(len(n.text), maxEcho)]
	if strings.Trim(n.text, "+-.0123456789eE") != "" {
		b.report("must be a decimal number, got %s", shown)
		return
	}
	value, err := strconv.ParseFloat(n.text, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		b.report("is out of range: %s", shown)
	case err != nil:
		b.report("must be a decimal number, got %s", shown)
	default:
		v.SetFloat(value)
	}
}

func bindTime(b *binding, n *node, v reflect.Value) {
	text, ok := textOf(n)
	if !ok {
		b.report("must be an RFC 3339 time, got %s", n.describe())
		return
	}
	at, err := parseTime(text)
	if err != nil {
		b.report("must be an RFC 3339 time such as 2006-01-02T15:04:05Z, got %s", echo(text))
		return
	}
	v.Set(reflect.ValueOf(at))
}

// parseTime reads an RFC 3339 time and refuses one that cannot be written back
// in UTC.
func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, err
	}
	// The standard library lets these two through.
	if text[len("2006-01-02T15")] != ':' || strings.Contains(text, ",") {
		return time.Time{}, errors.New("not RFC 3339")
	}
	at = at.UTC()
	if year := at.Year(); year < 0 || year > 9999 {
		return time.Time{}, errors.New("year out of range")
	}
	return at, nil
}
