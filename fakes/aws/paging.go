package aws

import (
	"encoding/base64"
	"slices"
)

// Descriptions come in parts. What names the next part is the key of the last
// item seen, so items that come or go in between shift nothing; once that very
// item has gone, the token is no longer good.

// cut gives the part of n items that follows token, of at most size, and the
// token of the next one. It reports false for a token that is not one of ours.
func cut(n int, key func(int) string, token string, size int) (from, until int, next string, ok bool) {
	if token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return 0, 0, "", false
		}
		from = -1
		for i := range n {
			if key(i) == string(last) {
				from = i + 1
				break
			}
		}
		if from < 0 {
			return 0, 0, "", false
		}
	}
	until = min(from+size, n)
	if until < n {
		next = base64.RawURLEncoding.EncodeToString([]byte(key(until - 1)))
	}
	return from, until, next, true
}

// keep keeps the items that are named, if any are; a name that none has is what
// missing says, unless that is nil.
func keep[T any](items *[]T, names []string, name func(T) string, missing func(string) *apiError) *apiError {
	if len(names) == 0 {
		return nil
	}
	for _, want := range names {
		if missing != nil && !slices.ContainsFunc(*items, func(t T) bool { return name(t) == want }) {
			return missing(want)
		}
	}
	*items = slices.DeleteFunc(*items, func(t T) bool { return !slices.Contains(names, name(t)) })
	return nil
}
