package config

import (
	"slices"
	"strings"
)

// Nearest gives the known word that word was most likely meant to be, or "" if
// none is close or word is one of them. However many letters are in another case
// count as one mistake. Of several equally close words the first wins. The work
// is in proportion to the number of known words.
func Nearest(word string, known []string) string {
	best, bestDistance := "", 1+len(word)/3
	if len(word) > maxWord || slices.Contains(known, word) {
		return "" // nobody mistypes at that length, or nothing is mistyped
	}
	for _, k := range known {
		if best != "" && bestDistance == 1 {
			break
		}
		if len(k) > len(word)+4*bestDistance || len(word) > len(k)+4*bestDistance {
			continue // too far apart, whatever the characters
		}
		d := max(1, distance(strings.ToLower(word), strings.ToLower(k)))
		if d < bestDistance || best == "" && d == bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// Suggest gives "; did you mean X?", or "" if no known word is close.
func Suggest(word string, known []string) string {
	if n := Nearest(word, known); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// distance is the number of characters to insert, delete, replace or swap with
// their neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	cells := make([]int, 3*(len(y)+1))
	n := len(y) + 1
	before, last, row := cells[:n], cells[n:2*n], cells[2*n:] // the two rows above, and this one
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(y)]
}
