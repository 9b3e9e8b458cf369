package sms

import "strings"

// MaxSegment is how many septets one SMS holds (3GPP TS 23.038 and 23.040). A
// longer text, or one with a letter outside the alphabet, is cut into parts
// that may arrive in any order, at night, on an old phone.
const MaxSegment = 160

// basic is the GSM 7-bit default alphabet, of which we use only what is ASCII
// too. The ASCII letters missing here, such as [ and |, cost two septets each.
const basic = "\n\r @$_!\"#%&'()*+,-./0123456789:;<=>?" +
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// plain replaces every letter that does not cost exactly one septet.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(basic, r) {
			return r
		}
		return '?'
	}, s)
}

// Fits says whether the text is one segment of plain letters.
func Fits(s string) bool { return s == plain(s) && len(s) <= MaxSegment }
