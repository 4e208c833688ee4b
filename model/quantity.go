package model

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// maxQuantityLength bounds the text of a quantity, in bytes.
const maxQuantityLength = 64

// quantityUnit is the multiplier of a suffix: 10^ten * 2^two.
type quantityUnit struct{ ten, two int }

var quantityUnits = map[string]quantityUnit{
	"n": {ten: -9}, "u": {ten: -6}, "m": {ten: -3}, "": {},
	"k": {ten: 3}, "M": {ten: 6}, "G": {ten: 9}, "T": {ten: 12}, "P": {ten: 15}, "E": {ten: 18},
	"Ki": {two: 10}, "Mi": {two: 20}, "Gi": {two: 30}, "Ti": {two: 40}, "Pi": {two: 50}, "Ei": {two: 60},
}

var errQuantitySyntax = errors.New("is not a quantity such as 500m, 2 or 1Gi")

// ParseQuantity reads a Kubernetes quantity (500m, 1.5, 1Gi, 1e3) and returns it
// in thousandths, rounded away from zero. It fails for text that is no quantity
// and for amounts whose thousandths exceed an int64.
func ParseQuantity(q Quantity) (milli int64, err error) {
	if len(q) > maxQuantityLength {
		return 0, fmt.Errorf("must be at most %d characters, got %d", maxQuantityLength, len(q))
	}
	digits, scale, unit, err := splitQuantity(string(q))
	if err != nil {
		return 0, fmt.Errorf("%w, got %s", err, echo(string(q)))
	}
	value, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return 0, fmt.Errorf("%w, got %s", errQuantitySyntax, echo(string(q)))
	}
	value.Lsh(value, uint(unit.two))
	thousandths := unit.ten + 3 - scale
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(thousandths, -thousandths))), nil)
	if thousandths >= 0 {
		value.Mul(value, power)
	} else {
		value = divideAwayFromZero(value, power)
	}
	if !value.IsInt64() {
		return 0, fmt.Errorf("is out of range: %s", echo(string(q)))
	}
	return value.Int64(), nil
}

// splitQuantity takes a quantity apart: its digits with sign and without point,
// how many of them stand after the point, and its unit.
func splitQuantity(text string) (digits string, scale int, unit quantityUnit, err error) {
	end := strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune("+-.0123456789", r) })
	if end < 0 {
		end = len(text)
	}
	number, suffix := text[:end], text[end:]
	whole, fraction, _ := strings.Cut(number, ".")
	unsigned := strings.TrimLeft(whole, "+-")
	if len(whole)-len(unsigned) > 1 || !isDigits(unsigned) || !isDigits(fraction) || unsigned+fraction == "" {
		return "", 0, unit, errQuantitySyntax
	}
	unit, known := quantityUnits[suffix]
	if !known {
		if unit.ten, err = quantityExponent(suffix); err != nil {
			return "", 0, unit, err
		}
	}
	return whole + fraction, len(fraction), unit, nil
}

// quantityExponent reads the exponent of 1e3 or 1E-3.
func quantityExponent(suffix string) (int, error) {
	if suffix[0] != 'e' && suffix[0] != 'E' {
		return 0, errQuantitySyntax
	}
	exponent, err := strconv.ParseInt(suffix[1:], 10, 16)
	if err != nil {
		return 0, errQuantitySyntax
	}
	// More would be out of range, or vanish, whatever stands before it.
	const most = 100
	return int(min(max(exponent, -most), most)), nil
}

func isDigits(text string) bool { return strings.Trim(text, "0123456789") == "" }

func divideAwayFromZero(value, divisor *big.Int) *big.Int {
	quotient, remainder := new(big.Int).QuoRem(value, divisor, new(big.Int))
	if remainder.Sign() != 0 {
		quotient.Add(quotient, big.NewInt(int64(remainder.Sign())))
	}
	return quotient
}
