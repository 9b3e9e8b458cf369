package monitor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"
)

// secret is what all vantages share: who knows it may give commands, and who
// was sent a part of it may acknowledge one incident. It is nil where no file
// is configured, and then nobody may.
type secret []byte

// minSecret is the least length of the file: it must not be guessable.
const minSecret = 16

func parseSecret(text []byte) (secret, error) {
	s := secret(strings.TrimSpace(string(text)))
	if len(s) < minSecret {
		return nil, errors.New("too short: write at least 16 random letters into it, the same on all vantages")
	}
	return s, nil
}

func (s secret) sum(domain, text string) []byte {
	h := hmac.New(sha256.New, s)
	h.Write([]byte(domain + "\n" + text))
	return h.Sum(nil)
}

// token is what acknowledges one incident: 40 bits, short enough for an SMS, and
// guesses are counted.
func (s secret) token(incident string) string {
	return base32.StdEncoding.EncodeToString(s.sum("protoplex acknowledge 1", incident)[:5])
}

// allows says, in constant time, whether the token is the incident's.
func (s secret) allows(incident, token string) bool {
	return s != nil && hmac.Equal([]byte(s.token(incident)), []byte(strings.ToUpper(strings.TrimSpace(token))))
}

// sign gives the signature of a command.
func (s secret) sign(body []byte) string {
	return hex.EncodeToString(s.sum("protoplex command 1", string(body)))
}

// signed says, in constant time, whether the signature is that of the command.
func (s secret) signed(body []byte, signature string) bool {
	return s != nil && hmac.Equal([]byte(s.sign(body)), []byte(signature))
}

// withoutToken makes a text fit for a log.
func (v *vantage) withoutToken(text, incident string) string {
	if v.secret == nil {
		return text
	}
	return strings.ReplaceAll(text, "-"+v.secret.token(incident), "")
}

const (
	maxGuesses  = 10   // wrong tokens of one address in a guessWindow
	maxGuessers = 1024 // addresses; while there are more, strangers wait
	guessWindow = time.Minute
)

// guesses counts wrong tokens. It never blocks.
type guesses struct {
	mu     sync.Mutex
	start  time.Duration
	counts map[string]int
}

// exhausted says whether an address has guessed too often.
func (g *guesses) exhausted(from string, now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.counts == nil || now-g.start >= guessWindow {
		g.start, g.counts = now, map[string]int{}
	}
	n, known := g.counts[from]
	return n >= maxGuesses || !known && len(g.counts) >= maxGuessers
}

func (g *guesses) wrong(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.counts != nil {
		g.counts[from]++
	}
}
