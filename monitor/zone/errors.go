package zone

import (
	"fmt"
	"strings"
	"unicode"
)

// kind says what an HTTP status means for the one who retries: nil is
// "perhaps later".
func kind(status int) error {
	switch {
	case status == 401 || status == 403:
		return ErrDenied
	case status == 404:
		return ErrNotFound
	case status == 408 || status == 429:
		return nil
	case status >= 400 && status < 500:
		return ErrConflict
	}
	return nil
}

// failed says at whom and at what a request failed. The right is what the token
// must allow for it.
func failed(provider, doing, right string, status int, err error) error {
	err = &clipped{err}
	switch kind := kind(status); kind {
	case nil:
		return fmt.Errorf("%s: %s: %w", provider, doing, err)
	case ErrDenied:
		return fmt.Errorf("%s: %s: %w: the token must be valid and have the right %s: %w", provider, doing, kind, right, err)
	default:
		return fmt.Errorf("%s: %s: %w: %w", provider, doing, kind, err)
	}
}

// whole refuses a listing that is too long, or has a record twice, as when the
// zone changes between two pages.
func whole(records []Record) error {
	if len(records) > maxRecords {
		return fmt.Errorf("%w: more than %d records", ErrMalformed, maxRecords)
	}
	seen := make(map[string]bool, len(records))
	for _, r := range records {
		if seen[r.ID] {
			return fmt.Errorf("%w: record %s came twice", ErrMalformed, r.ID)
		}
		seen[r.ID] = true
	}
	return nil
}

// noService refuses what one provider cannot keep and the other could not change:
// the target "." of RFC 7505 and RFC 2782.
func noService(provider string, r Record) error {
	return fmt.Errorf("%w: %s keeps no %s record that says there is no service", ErrUnfit, provider, r.Type)
}

// maxMessage bounds what is repeated of an answer.
const maxMessage = 300

// clipped is an error whose text may quote a whole answer of a stranger.
type clipped struct{ error }

func (c *clipped) Error() string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(c.error.Error(), " "))
	if r := []rune(text); len(r) > maxMessage {
		text = string(r[:maxMessage]) + "..."
	}
	return text
}

func (c *clipped) Unwrap() error { return c.error }
