"""The codes of countries by the English names that GeoLite2 and other tools write. Shlink's CSV has names alone."""

import re
import unicodedata
from functools import cache

_NAMES = """
AD Andorra|AE United Arab Emirates|AF Afghanistan|AG Antigua and Barbuda|AI Anguilla|AL Albania|AM Armenia|AO Angola
AQ Antarctica|AR Argentina|AS American Samoa|AT Austria|AU Australia|AW Aruba|AX Åland Islands|AX Åland|AZ Azerbaijan
BA Bosnia and Herzegovina|BA Bosnia & Herzegovina|BB Barbados|BD Bangladesh|BE Belgium|BF Burkina Faso|BG Bulgaria
BH Bahrain|BI Burundi|BJ Benin|BL Saint Barthélemy|BL St Barthélemy|BM Bermuda|BN Brunei|BN Brunei Darussalam|BO Bolivia
BQ Bonaire, Sint Eustatius, and Saba|BQ Caribbean Netherlands|BR Brazil|BS Bahamas|BT Bhutan|BV Bouvet Island|BW Botswana
BY Belarus|BZ Belize|CA Canada|CC Cocos (Keeling) Islands|CC Cocos Islands|CD DR Congo|CD Congo (DRC)
CD Democratic Republic of the Congo|CD Congo - Kinshasa|CF Central African Republic|CG Congo Republic
CG Republic of the Congo|CG Congo|CG Congo - Brazzaville|CH Switzerland|CI Ivory Coast|CI Côte d'Ivoire|CK Cook Islands
CL Chile|CM Cameroon|CN China|CO Colombia|CR Costa Rica|CU Cuba|CV Cabo Verde|CV Cape Verde|CW Curaçao|CX Christmas Island
CY Cyprus|CZ Czechia|CZ Czech Republic|DE Germany|DJ Djibouti|DK Denmark|DM Dominica|DO Dominican Republic|DZ Algeria
EC Ecuador|EE Estonia|EG Egypt|EH Western Sahara|ER Eritrea|ES Spain|ET Ethiopia|FI Finland|FJ Fiji|FK Falkland Islands
FM Federated States of Micronesia|FM Micronesia|FO Faroe Islands|FR France|GA Gabon|GB United Kingdom|GB UK|GB Great Britain
GD Grenada|GE Georgia|GF French Guiana|GG Guernsey|GH Ghana|GI Gibraltar|GL Greenland|GM Gambia|GN Guinea|GP Guadeloupe
GQ Equatorial Guinea|GR Greece|GS South Georgia and the South Sandwich Islands|GT Guatemala|GU Guam|GW Guinea-Bissau
GY Guyana|HK Hong Kong|HM Heard Island and McDonald Islands|HM Heard and McDonald Islands|HN Honduras|HR Croatia|HT Haiti
HU Hungary|ID Indonesia|IE Ireland|IL Israel|IM Isle of Man|IN India|IO British Indian Ocean Territory|IQ Iraq|IR Iran
IR Islamic Republic of Iran|IS Iceland|IT Italy|JE Jersey|JM Jamaica|JO Jordan|JP Japan|KE Kenya|KG Kyrgyzstan|KH Cambodia
KI Kiribati|KM Comoros|KN St Kitts and Nevis|KN Saint Kitts and Nevis|KP North Korea|KR South Korea|KR Republic of Korea
KR Korea, Republic of|KW Kuwait|KY Cayman Islands|KZ Kazakhstan|LA Laos|LB Lebanon|LC Saint Lucia|LC St Lucia
LI Liechtenstein|LK Sri Lanka|LR Liberia|LS Lesotho|LT Lithuania|LT Republic of Lithuania|LU Luxembourg|LV Latvia|LY Libya
MA Morocco|MC Monaco|MD Moldova|MD Republic of Moldova|ME Montenegro|MF Saint Martin|MF St Martin|MG Madagascar
MH Marshall Islands|MK North Macedonia|MK Macedonia|ML Mali|MM Myanmar|MM Myanmar (Burma)|MN Mongolia|MO Macao|MO Macau
MP Northern Mariana Islands|MQ Martinique|MR Mauritania|MS Montserrat|MT Malta|MU Mauritius|MV Maldives|MW Malawi|MX Mexico
MY Malaysia|MZ Mozambique|NA Namibia|NC New Caledonia|NE Niger|NF Norfolk Island|NG Nigeria|NI Nicaragua|NL Netherlands
NL The Netherlands|NO Norway|NP Nepal|NR Nauru|NU Niue|NZ New Zealand|OM Oman|PA Panama|PE Peru|PF French Polynesia
PG Papua New Guinea|PH Philippines|PK Pakistan|PL Poland|PM Saint Pierre and Miquelon|PM St Pierre and Miquelon
PN Pitcairn Islands|PN Pitcairn|PR Puerto Rico|PS Palestine|PS Palestinian Territories|PS State of Palestine
PS Palestinian Territory|PT Portugal|PW Palau|PY Paraguay|QA Qatar|RE Réunion|RO Romania|RS Serbia|RU Russia
RU Russian Federation|RW Rwanda|SA Saudi Arabia|SB Solomon Islands|SC Seychelles|SD Sudan|SE Sweden|SG Singapore
SH Saint Helena|SH St Helena|SI Slovenia|SJ Svalbard and Jan Mayen|SK Slovakia|SL Sierra Leone|SM San Marino|SN Senegal
SO Somalia|SR Suriname|SS South Sudan|ST São Tomé and Príncipe|ST Sao Tome and Principe|SV El Salvador|SX Sint Maarten
SY Syria|SY Syrian Arab Republic|SZ Eswatini|SZ Swaziland|TC Turks and Caicos Islands|TD Chad|TF French Southern Territories
TG Togo|TH Thailand|TJ Tajikistan|TK Tokelau|TL Timor-Leste|TL East Timor|TM Turkmenistan|TN Tunisia|TO Tonga|TR Turkey
TR Türkiye|TT Trinidad and Tobago|TV Tuvalu|TW Taiwan|TZ Tanzania|UA Ukraine|UG Uganda|UM U.S. Outlying Islands
US United States|US United States of America|US USA|UY Uruguay|UZ Uzbekistan|VA Vatican City|VA Holy See
VC St Vincent and Grenadines|VC Saint Vincent and the Grenadines|VE Venezuela|VG British Virgin Islands
VI U.S. Virgin Islands|VN Vietnam|VU Vanuatu|WF Wallis and Futuna|WS Samoa|XK Kosovo|YE Yemen|YT Mayotte|ZA South Africa
ZM Zambia|ZW Zimbabwe
"""

_letters = re.compile(r"[a-z]+")


def find_country(text: str | None) -> str | None:
    """Return the code of a country; None for what is none that is known."""
    if not text:
        return None
    return _codes().get(_spell(text))


@cache
def _codes() -> dict[str, str]:
    pairs = [each.split(" ", 1) for line in _NAMES.strip().splitlines() for each in line.split("|")]
    return {_spell(name): code for code, name in pairs} | {code.lower(): code for code, _ in pairs}


def _spell(text: str) -> str:
    """Leave letters alone, without their marks, and without the word `the`."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(
        word for word in _letters.findall("".join(c for c in bare if not unicodedata.combining(c))) if word != "the"
    )
