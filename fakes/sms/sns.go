package sms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/espra/protoplex/fakes/internal/sigv4"
	"github.com/espra/protoplex/nodes"
)

const (
	snsVersion = "2010-03-31"
	// segmentPrice is in millionths of a dollar, and that of the United States.
	segmentPrice    = 6450
	defaultSpending = 1  // dollars a month, as new accounts have it
	maxEntries      = 10 // attributes of one message
	maxSenderID     = 11 // characters
	attributePrefix = "AWS.SNS.SMS."
)

// SNSOptions configure an SNS.
type SNSOptions struct {
	Region   string            // that requests must be signed for
	Keys     map[string]string // secrets by access key id
	Spending int               // dollars a month that the account may allow itself; default 1
	Sandbox  bool              // the account has not left it
	Verified []string          // numbers that a sandbox may send to
	Network
}

// SNS is what Amazon SNS has for text messages, of one account in one region:
// the actions of the Query API 2010-03-31 that concern phone numbers and no
// topics. Its messages move on until the context it was made with ends. It may
// be used concurrently.
type SNS struct {
	m        nodes.Machine
	options  SNSOptions
	verifier *sigv4.Verifier
	network  *network

	mu         sync.Mutex
	requests   uint64
	attributes map[string]string
	month      string // of the year, to which spent belongs
	spent      int    // in it, millionths of a dollar
}

// NewSNS makes a gateway whose deliveries end with ctx.
func NewSNS(ctx context.Context, m nodes.Machine, o SNSOptions) *SNS {
	if o.Spending == 0 {
		o.Spending = defaultSpending
	}
	return &SNS{
		m: m, options: o,
		verifier:   &sigv4.Verifier{Service: "sns", Region: o.Region, Keys: o.Keys, Now: m.Now},
		network:    &network{Network: o.Network, ctx: ctx, m: m, provider: "sns"},
		attributes: map[string]string{spendLimit: strconv.Itoa(o.Spending)},
	}
}

// ServeHTTP implements http.Handler.
func (s *SNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.requestID()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Request body is too large").write(w, id)
		return
	}
	if _, err := s.verifier.Verify(r, sigv4.Hash(body)); err != nil {
		unsigned(err).write(w, id)
		return
	}
	query := r.URL.RawQuery
	if r.Method == http.MethodPost {
		query = string(body)
	}
	form, err := url.ParseQuery(query)
	if err != nil {
		refuse(http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error.").write(w, id)
		return
	}
	result, refused := s.act(form)
	if refused != nil {
		refused.write(w, id)
		return
	}
	writeResult(w, id, form.Get("Action"), result)
}

// Refuse implements faulty.API.
func (s *SNS) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	e := refuse(status, "InternalError", "We encountered an internal error. Please try again.")
	switch status {
	case http.StatusUnauthorized: // AWS says it so
		e = refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	case http.StatusForbidden:
		e = refuse(status, "AuthorizationError", "User is not authorized to perform this action")
	case http.StatusTooManyRequests:
		e = throttled()
	case http.StatusServiceUnavailable:
		e = refuse(status, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
	}
	e.write(w, s.requestID())
}

func throttled() *snsError { return refuse(http.StatusBadRequest, "Throttling", "Rate exceeded") }

func unsigned(err error) *snsError {
	var refused *sigv4.Error
	if !errors.As(err, &refused) {
		return &snsError{http.StatusInternalServerError, "InternalFailure", err.Error()}
	}
	status, code := refused.Query()
	return refuse(status, code, refused.Message)
}

func (s *SNS) requestID() string {
	s.mu.Lock()
	s.requests++
	n := s.requests
	s.mu.Unlock()
	return uuid(random(s.m, "sns request", n))
}

// uuid writes bytes as one of version 4.
func uuid(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// act carries out an action and gives what its result holds.
func (s *SNS) act(form url.Values) (any, *snsError) {
	action := form.Get("Action")
	if v := form.Get("Version"); v != snsVersion {
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation "+action+" for version "+v)
	}
	switch action {
	case "Publish":
		return s.publish(form)
	case "CheckIfPhoneNumberIsOptedOut":
		number := form.Get("phoneNumber")
		if !validNumber(number) {
			return nil, invalid("PhoneNumber Reason: input incorrectly formatted")
		}
		return optedOutResult{IsOptedOut: slices.Contains(s.options.OptedOut, number)}, nil
	case "GetSMSAttributes":
		return s.getAttributes(form)
	case "SetSMSAttributes":
		return nil, s.setAttributes(form)
	case "GetSMSSandboxAccountStatus":
		return sandboxResult{IsInSandbox: s.options.Sandbox}, nil
	case "ListSMSSandboxPhoneNumbers":
		var out sandboxNumbersResult
		for _, number := range s.options.Verified {
			out.PhoneNumbers = append(out.PhoneNumbers, sandboxNumber{number, "Verified"})
		}
		return out, nil
	}
	return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation "+action+" for version "+snsVersion)
}

func (s *SNS) publish(form url.Values) (any, *snsError) {
	msg := &message{to: form.Get("PhoneNumber"), body: form.Get("Message")}
	switch {
	case form.Get("TopicArn") != "" || form.Get("TargetArn") != "":
		return nil, refuse(http.StatusNotFound, "NotFound", "Topic does not exist")
	case msg.to == "":
		return nil, invalid("TopicArn or TargetArn Reason: no value for required parameter")
	case !validNumber(msg.to):
		return nil, invalid("PhoneNumber Reason: " + msg.to + " is not valid to publish to")
	case msg.body == "":
		return nil, invalid("Empty message")
	case utf8.RuneCountInString(msg.body) > maxBody:
		return nil, invalid("Message Reason: the message must not be longer than " + strconv.Itoa(maxBody) + " characters")
	}
	var refused *snsError
	if msg.from, refused = s.sender(form); refused != nil {
		return nil, refused
	}
	if err := s.network.accept(msg, uuid, func() { msg.fate = s.fate(msg) }); err != nil {
		return nil, throttled()
	}
	return publishResult{MessageID: msg.id}, nil
}

// sender checks the attributes of a message and gives the sender id.
func (s *SNS) sender(form url.Values) (string, *snsError) {
	s.mu.Lock()
	from := s.attributes[defaultSender]
	s.mu.Unlock()
	for i := 1; ; i++ {
		prefix := "MessageAttributes.entry." + strconv.Itoa(i) + "."
		name, value := form.Get(prefix+"Name"), form.Get(prefix+"Value.StringValue")
		switch {
		case name == "":
			return from, nil
		case i > maxEntries:
			return "", invalid("MessageAttributes Reason: at most " + strconv.Itoa(maxEntries) + " are allowed")
		case form.Get(prefix+"Value.DataType") == "":
			return "", refuse(http.StatusBadRequest, "ParameterValueInvalid", "The message attribute '"+name+"' must contain non-empty message attribute type.")
		case name == attributePrefix+"SMSType":
			if !validType(value) {
				return "", invalid(name + " Reason: valid values are Promotional and Transactional")
			}
		case name == attributePrefix+"SenderID":
			if !validSender(value) {
				return "", invalid(name + " Reason: want 1 to 11 letters and digits, and at least one letter")
			}
			from = value
		case strings.HasPrefix(name, attributePrefix):
			return "", invalid(name + " Reason: not implemented here")
		}
	}
}

// fate tells why a message will not arrive, in the words of Amazon's logs, and
// pays for one that may.
func (s *SNS) fate(msg *message) failure {
	switch {
	case slices.Contains(s.options.OptedOut, msg.to):
		return failure{reason: "Phone number is opted out"}
	case s.options.Sandbox && !slices.Contains(s.options.Verified, msg.to):
		return failure{reason: "Phone number is not verified in the SMS sandbox"}
	case !s.pay(msg):
		return failure{reason: "No quota left for account"}
	case slices.Contains(s.options.Unreachable, msg.to):
		return failure{reason: "Phone is currently unreachable/unavailable"}
	}
	return failure{}
}

// pay takes the price of a message from the month's budget, if that allows it.
func (s *SNS) pay(msg *message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if month := s.m.Now().UTC().Format("2006-01"); month != s.month {
		s.month, s.spent = month, 0
	}
	limit, err := strconv.Atoi(s.attributes[spendLimit])
	price := segmentPrice * Segments(msg.body)
	if err != nil || s.spent+price > limit*1_000_000 {
		return false
	}
	s.spent += price
	return true
}
