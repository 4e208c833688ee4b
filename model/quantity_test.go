package model_test

import (
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestParseQuantity(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text model.Quantity
		want int64
	}{
		{"0", 0},
		{"1", 1000},
		{"+2", 2000},
		{"-1", -1000},
		{"500m", 500},
		{"1.5", 1500},
		{".5", 500},
		{"2.", 2000},
		{"0.1", 100},
		{"100u", 1},
		{"1n", 1},
		{"0.0001", 1},
		{"-1n", -1},
		{"1500u", 2},
		{"1e3", 1_000_000},
		{"1E3", 1_000_000},
		{"1e-3", 1},
		{"12E-1", 1200},
		{"0e999", 0},
		{"1e-999", 1},
		{"1k", 1_000_000},
		{"1M", 1_000_000_000},
		{"1G", 1_000_000_000_000},
		{"1T", 1_000_000_000_000_000},
		{"1P", 1_000_000_000_000_000_000},
		{"0.001E", 1_000_000_000_000_000_000},
		{"1Ki", 1_024_000},
		{"1Mi", 1_048_576_000},
		{"1Gi", 1_073_741_824_000},
		{"0.5Gi", 536_870_912_000},
		{"1Ti", 1_099_511_627_776_000},
		{"8Pi", 9_007_199_254_740_992_000},
		{"128974848", 128_974_848_000},
		{"9223372036854775.807", 9_223_372_036_854_775_807},
		{"9223372036854775807m", 9_223_372_036_854_775_807},
		{"00000000000000000000000000000001", 1000},
	}
	for _, tt := range tests {
		t.Run(string(tt.text), func(t *testing.T) {
			t.Parallel()
			got, err := model.ParseQuantity(tt.text)
			if err != nil || got != tt.want {
				t.Errorf("got %d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

func TestParseQuantityErrors(t *testing.T) {
	t.Parallel()
	const syntax, outOfRange = "is not a quantity", "is out of range"
	tests := []struct {
		text model.Quantity
		want string
	}{
		{"", syntax}, {" ", syntax}, {"1 Gi", syntax}, {" 1", syntax}, {"1Gi ", syntax}, {"m", syntax}, {".", syntax}, {"+", syntax},
		{"--1", syntax}, {"+-1", syntax}, {"1-", syntax}, {"1.2.3", syntax}, {"1..", syntax}, {"1.-2", syntax},
		{"1K", syntax}, {"1gi", syntax}, {"1KiB", syntax}, {"1mi", syntax}, {"0x10", syntax}, {"1_000", syntax},
		{"1e", syntax}, {"1e+", syntax}, {"1e1.5", syntax}, {"1e3m", syntax}, {"1EE", syntax}, {"e3", syntax}, {"1e99999999999", syntax},
		{"NaN", syntax}, {"Inf", syntax}, {"1٣", syntax},
		{"1E", outOfRange}, {"1Ei", outOfRange}, {"16Pi", outOfRange}, {"1e19", outOfRange}, {"1e9999", outOfRange},
		{"9223372036854775.808", outOfRange}, {"-9223372036854775.809", outOfRange},
		{model.Quantity(strings.Repeat("9", 64)), outOfRange},
		{model.Quantity(strings.Repeat("1", 65)), "must be at most 64 characters, got 65"},
	}
	for _, tt := range tests {
		t.Run(string(tt.text), func(t *testing.T) {
			t.Parallel()
			got, err := model.ParseQuantity(tt.text)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %d, %v, want an error that begins %q", got, err, tt.want)
			}
		})
	}
}
