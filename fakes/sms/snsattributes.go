package sms

import (
	"net/url"
	"slices"
	"strconv"
)

// The attributes of an account's messages, as SetSMSAttributes knows them.
const (
	spendLimit    = "MonthlySpendLimit"
	defaultSender = "DefaultSenderID"
	defaultType   = "DefaultSMSType"
	statusRole    = "DeliveryStatusIAMRole"
	statusRate    = "DeliveryStatusSuccessSamplingRate"
	usageBucket   = "UsageReportS3Bucket"

	maxAttribute = 256 // bytes
)

// attributeNames is read-only and sorted.
var attributeNames = []string{defaultSender, defaultType, statusRole, statusRate, spendLimit, usageBucket}

// getAttributes gives the attributes that are set, or those among the named.
func (s *SNS) getAttributes(form url.Values) (any, *snsError) {
	wanted := attributeNames
	if form.Get("attributes.member.1") != "" {
		wanted = nil
		for i := 1; i <= len(attributeNames); i++ {
			name := form.Get("attributes.member." + strconv.Itoa(i))
			if name != "" && !slices.Contains(attributeNames, name) {
				return nil, invalid("attributes Reason: unknown attribute " + name)
			}
			wanted = append(wanted, name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out attributesResult
	for _, name := range attributeNames {
		if value := s.attributes[name]; value != "" && slices.Contains(wanted, name) {
			out.Attributes = append(out.Attributes, attribute{name, value})
		}
	}
	return out, nil
}

// setAttributes sets all or none. An empty value takes the attribute away.
func (s *SNS) setAttributes(form url.Values) *snsError {
	given := map[string]string{}
	for i := 1; i <= len(attributeNames); i++ {
		prefix := "attributes.entry." + strconv.Itoa(i) + "."
		name, value := form.Get(prefix+"key"), form.Get(prefix+"value")
		if name == "" {
			break
		}
		if why := s.wrong(name, value); why != "" {
			return invalid(name + " Reason: " + why)
		}
		given[name] = value
	}
	if len(given) == 0 {
		return invalid("attributes Reason: no value for required parameter")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range given {
		s.attributes[name] = value
	}
	return nil
}

// wrong says why an attribute may not have a value, or "".
func (s *SNS) wrong(name, value string) string {
	number := func(most int) string {
		if n, err := strconv.Atoi(value); err != nil || n < 0 || n > most {
			return "want a number from 0 to " + strconv.Itoa(most)
		}
		return ""
	}
	switch {
	case !slices.Contains(attributeNames, name):
		return "unknown attribute"
	case name == spendLimit:
		return number(s.options.Spending)
	case value == "":
		return ""
	case len(value) > maxAttribute:
		return "too long"
	case name == statusRate:
		return number(100)
	case name == defaultType && !validType(value):
		return "valid values are Promotional and Transactional"
	case name == defaultSender && !validSender(value):
		return "want 1 to 11 letters and digits, and at least one letter"
	}
	return ""
}

func validType(s string) bool { return s == "Promotional" || s == "Transactional" }

// validSender tells whether s is a sender id: 1 to 11 letters, digits and
// dashes, among them a letter.
func validSender(s string) bool {
	letters := 0
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			letters++
		case '0' <= c && c <= '9' || c == '-':
		default:
			return false
		}
	}
	return letters > 0 && len(s) <= maxSenderID
}
