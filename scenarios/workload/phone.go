package workload

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
)

// maxTries is how often the link of one text is followed before its reader gives up.
const maxTries = 5

// Phone is that of an admin who looks after incidents: for each page that comes,
// one after the other, its owner follows the link in it, chooses their name, and
// sends the form. An all-clear has nothing to acknowledge. What came of it is logged
// as "page acknowledged" or "page not acknowledged", with by and incident.
type Phone struct {
	// Owner is the name to choose.
	Owner string
	// Answers is how long after a text its link is followed.
	Answers time.Duration
	// Texts are the bodies of those that arrive.
	Texts <-chan string
	// Roots are the authorities to trust.
	Roots *x509.CertPool
	// Pace may be left zero. A Period lies between two tries.
	Pace Pace
}

var _ Client = Phone{}

// Run implements [Client].
func (p Phone) Run(ctx context.Context, m nodes.Machine) error {
	if p.Owner == "" || p.Texts == nil {
		return errors.New("workload: a phone needs an owner and texts")
	}
	h := hand{part{m, "phone/" + p.Owner, p.Pace.orDefault(20 * time.Second), p.Roots}, p}
	for {
		select {
		case <-ctx.Done():
			return nil
		case text := <-p.Texts:
			if !strings.HasPrefix(text, "ESPRA OK ") {
				h.answer(ctx, text)
			}
		}
	}
}

// hand is what holds the phone.
type hand struct {
	part
	Phone
}

var (
	linkIn   = regexp.MustCompile(`https://\S+/([A-Z0-9]+)(?:-[A-Z0-9]+)?`)
	formIn   = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
	tokenIn  = regexp.MustCompile(`<input name="token" value="([^"]*)"`)
	optionIn = regexp.MustCompile(`<option>([^<]*)`)
	takenIn  = regexp.MustCompile(`Acknowledged by <strong>([^<]*)</strong>`)
)

// answer follows the link of a text until the incident is looked after.
func (h hand) answer(ctx context.Context, text string) {
	link := linkIn.FindStringSubmatch(text)
	if link == nil {
		h.m.Log().Warn("page not acknowledged", "by", h.Owner, "incident", "?", "error", "the text has no link")
		return
	}
	if h.sleep(ctx, "answers", h.Answers) != nil {
		return
	}
	var err error
	for try := range maxTries {
		if try > 0 && h.sleep(ctx, "again", h.pace.Period) != nil {
			return
		}
		var by string
		if by, err = h.acknowledge(ctx, link[0]); err == nil {
			if by == h.Owner { // others say so themselves
				h.m.Log().Info("page acknowledged", "by", by, "incident", link[1])
			}
			return
		}
	}
	if ctx.Err() == nil {
		h.m.Log().Warn("page not acknowledged", "by", h.Owner, "incident", link[1], "error", classOf(err))
	}
}

// acknowledge opens the link once, sends the form that it shows, and gives who looks
// after the incident then. Somebody may have been faster.
func (h hand) acknowledge(ctx context.Context, link string) (by string, err error) {
	ctx, cancel := h.within(ctx, "request", h.pace.Request)
	defer cancel()
	transport := h.transport(ctx)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	at, page, err := h.fetch(ctx, client, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	if taken := takenIn.FindStringSubmatch(page); taken != nil {
		return html.UnescapeString(taken[1]), nil
	}
	form, token := formIn.FindStringSubmatch(page), tokenIn.FindStringSubmatch(page)
	if form == nil || token == nil {
		return "", &failure{class: "no form", err: errors.New("workload: the page has no form")}
	}
	chosen := ""
	for _, option := range optionIn.FindAllStringSubmatch(page, -1) {
		if name := html.UnescapeString(option[1]); name == h.Owner {
			chosen = name
		}
	}
	to, err := at.Parse(html.UnescapeString(form[1]))
	if err != nil {
		return "", fmt.Errorf("workload: action of the form: %w", err)
	}
	fields := url.Values{"by": {chosen}, "token": {html.UnescapeString(token[1])}}
	if _, page, err = h.fetch(ctx, client, http.MethodPost, to.String(), fields); err != nil {
		return "", err
	}
	taken := takenIn.FindStringSubmatch(page)
	if taken == nil {
		return "", &failure{class: "not shown", err: errors.New("workload: the page does not show who looks after it")}
	}
	return html.UnescapeString(taken[1]), nil
}

// fetch gives a page, and where redirects have led to.
func (h hand) fetch(ctx context.Context, client *http.Client, method, address string, form url.Values) (at *url.URL, page string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, "", fmt.Errorf("workload: %w", err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", &failure{class: classIn(ctx, err), err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	switch {
	case err != nil:
		return nil, "", &failure{class: classIn(ctx, err), err: err}
	case resp.StatusCode != http.StatusOK:
		return nil, "", &failure{class: statusFailure(resp.StatusCode), err: errors.New("workload: the page is not there")}
	}
	return resp.Request.URL, string(body), nil
}
