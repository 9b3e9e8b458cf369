package sms

import (
	"strings"
	"unicode/utf16"
)

// The GSM 7-bit alphabet and its extension, whose characters take two places,
// 3GPP TS 23.038 section 6.2.1.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

// Segments tells how many messages of the mobile network a body takes: 160
// places of the GSM alphabet in one, 153 each in several; with any character
// outside that alphabet 70 and 67 UTF-16 units.
func Segments(body string) int {
	places, single, joined := 0, 160, 153
	for _, c := range body {
		switch {
		case strings.ContainsRune(gsmBasic, c):
			places++
		case strings.ContainsRune(gsmExtension, c):
			places += 2
		default:
			places, single, joined = len(utf16.Encode([]rune(body))), 70, 67
		}
		if single == 70 {
			break
		}
	}
	if places <= single {
		return 1
	}
	return (places + joined - 1) / joined
}
