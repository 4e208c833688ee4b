package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oprc/oprc-pm/model"
)

// Output formats of get and its like.
const (
	outputTable = "table"
	outputWide  = "wide"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

var outputFormats = []string{outputTable, outputWide, outputJSON, outputYAML}

// checkOutput rejects a format that does not exist.
func checkOutput(format string) error {
	for _, known := range outputFormats {
		if format == known {
			return nil
		}
	}
	return usagef("--output %q is not one of %s", format, strings.Join(outputFormats, ", "))
}

// printStructured prints v as JSON or YAML.
func (p *program) printStructured(format string, v any) error {
	switch format {
	case outputJSON:
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
		p.printf("%s\n", text)
	case outputYAML:
		text, err := model.MarshalYAML(v)
		if err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
		p.printf("%s", text)
	default:
		return usagef("--output %q is neither json nor yaml", format)
	}
	return nil
}

// table is text in columns.
type table struct {
	header []string
	rows   [][]string
}

const columnGap = 3

// write prints the table with each column as wide as its longest cell, which is
// counted in characters, not bytes.
func (t table) write(w io.Writer) {
	t.writeWidths(w, t.widths(nil), true)
}

// widths returns the columns' widths, at least those given.
func (t table) widths(atLeast []int) []int {
	widths := make([]int, len(t.header))
	copy(widths, atLeast)
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func (t table) writeWidths(w io.Writer, widths []int, header bool) {
	var text bytes.Buffer
	rows := t.rows
	if header {
		rows = append([][]string{t.header}, rows...)
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+columnGap))
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " "))
		text.WriteByte('\n')
	}
	_, _ = w.Write(text.Bytes())
}

// cell makes text safe for one cell: no line breaks, no control characters (a
// document must not be able to move the terminal's cursor), and not empty.
func cell(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if text = strings.TrimSpace(text); text == "" {
		return "-"
	}
	return text
}

// shorten cuts text to at most n characters.
func shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// optional is the text behind a pointer, or "".
func optional(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// age is the time since t for people.
func age(now time.Time, t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return humanDuration(now.Sub(*t))
}

// humanDuration keeps the one or two units that matter: 45s, 7m, 3h20m, 5d.
func humanDuration(d time.Duration) string {
	seconds := int64(max(d, 0) / time.Second)
	minutes, hours, days := seconds/60, seconds/3600, seconds/86400
	two := func(a int64, unit string, b int64, small string) string {
		if b == 0 {
			return strconv.FormatInt(a, 10) + unit
		}
		return strconv.FormatInt(a, 10) + unit + strconv.FormatInt(b, 10) + small
	}
	switch {
	case seconds < 120:
		return strconv.FormatInt(seconds, 10) + "s"
	case minutes < 10:
		return two(minutes, "m", seconds%60, "s")
	case minutes < 120:
		return strconv.FormatInt(minutes, 10) + "m"
	case hours < 10:
		return two(hours, "h", minutes%60, "m")
	case hours < 48:
		return strconv.FormatInt(hours, 10) + "h"
	case days < 730:
		return strconv.FormatInt(days, 10) + "d"
	}
	return strconv.FormatInt(days/365, 10) + "y"
}
