"""Made-up files in the layouts of other shorteners, and a file to read them from."""

# ruff: noqa: E501  # rows of files are as long as they are

import sqlite3
from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import NamedTuple

from services.links import sources
from services.links.sources.found import FoundCounts, FoundLink, FoundVisit, Hints, Source, Unusable

BCRYPT = "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"


class HeldFile:
    """A file in memory, read in blocks of any size."""

    def __init__(
        self,
        data: bytes | str,
        name: str = "",
        *,
        zone: tzinfo = UTC,
        encoding: str | None = None,
        day_first: bool | None = None,
        block: int = 65536,
    ) -> None:
        self.data = data.encode() if isinstance(data, str) else data
        self.name = name
        self.hints = Hints(zone, encoding, day_first)
        self._block = block

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self._block):
            yield self.data[start : start + self._block]


class Sample(NamedTuple):
    """A file, and the name of its source."""

    source: str
    name: str
    data: bytes


def source_of(file: HeldFile) -> Source:
    """The source that recognises a file."""
    found = sources.recognise(file.data[: 64 * 1024], file.name)
    assert found is not None
    return found


def links_of(file: HeldFile) -> list[FoundLink]:
    """All links of a file, in which no row may be unusable."""
    found = list(source_of(file).read_links(file))
    assert not [each for each in found if isinstance(each, Unusable)]
    return [each for each in found if isinstance(each, FoundLink)]


def refused_of(file: HeldFile) -> list[Unusable]:
    return [each for each in source_of(file).read_links(file) if isinstance(each, Unusable)]


def visits_of(file: HeldFile) -> list[FoundVisit]:
    return [each for each in source_of(file).read_visits(file) if isinstance(each, FoundVisit)]


def counts_of(file: HeldFile) -> list[FoundCounts]:
    return [each for each in source_of(file).read_visits(file) if isinstance(each, FoundCounts)]


def sqlite_of(script: str) -> bytes:
    """A SQLite file."""
    with sqlite3.connect(":memory:") as conn:
        conn.executescript(script)
        return conn.serialize()


SHLINK_LINKS = """\
"createdAt","domain","shortCode","shortUrl","longUrl","title","tags","visits"
"2024-03-05T09:12:44+08:00","go.example.org","menu","https://go.example.org/menu","https://example.com/a?b=1#c","Menu","food|news",17
"2024-03-06T10:00:00+08:00","go.example.org","%E5%85%B1","https://go.example.org/共","https://example.net/","","",0
"2024-03-07T10:00:00+08:00","go.example.org","mail+","https://go.example.org/mail+","https://example.net/","A ""quoted""
title","",3"""

SHLINK_OLD_LINKS = """\
"createdAt","shortUrl","longUrl","title","tags","visits"
"2022-03-05T09:12:44+00:00","https://go.example.org:8080/a/b","https://example.com/","","",2"""

SHLINK_VISITS = """\
"date","potentialBot","userAgent","browser","os","referer","country","region","city","latitude","longitude","visitedUrl","type"
"2024-03-05T09:12:44+08:00",false,"Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0","Firefox","Linux",\
"news.example.com","France","","","48.8","2.3","https://go.example.org/menu?x=1","valid_short_url"
"2024-03-05T09:13:00+08:00",true,"curl/8","Others","Others","Direct","Unknown","","","","","https://go.example.org/menu",\
"valid_short_url"
"""

SHLINK_COMMAND_VISITS = """\
Date,"Potential bot","User agent",Referer,Country,Region,City,"Visited URL","Redirect URL",Type
2024-03-05T09:12:44+08:00,,"Mozilla/5.0",https://news.example.com/a,Germany,Unknown,Unknown,https://go.example.org/menu,\
https://example.com/,valid_short_url
2024-03-05T09:12:45+08:00,"Potential bot",curl/8,,Unknown,Unknown,Unknown,https://go.example.org/,Unknown,base_url
"""

SHLINK_IMPORTERS = """\
Long URL;Short code;Domain;Title;Tags
https://example.com/x;promo-24;;Spring;a|b
https://example.com/y;promo-25;s.example.org;;a,b
"""

SHLINK_ANSWER = """\
{"shortUrls": {"data": [
 {"shortUrl": "https://go.example.org/menu", "shortCode": "menu", "longUrl": "https://example.com", "dateCreated":
  "2024-03-05T09:12:44+08:00", "tags": ["food"], "meta": {"validSince": null, "validUntil": "2030-01-01T00:00:00+00:00",
  "maxVisits": 50}, "domain": null, "title": null, "crawlable": true, "forwardQuery": true, "hasRedirectRules": true,
  "visitsSummary": {"total": 17, "nonBots": 12, "bots": 5}}],
 "pagination": {"currentPage": 1, "pagesCount": 1, "itemsPerPage": 10, "itemsInCurrentPage": 1, "totalItems": 1}}}
"""

SHLINK_PULLED = """\
{"source": "shlink", "base": "https://go.example.org"}
{"link": {"shortUrl": "https://go.example.org/menu", "shortCode": "menu", "longUrl": "https://example.com", "dateCreated": \
"2024-03-05T09:12:44+08:00", "tags": [], "meta": null, "domain": null, "title": "Menu", "crawlable": false, "forwardQuery": true, \
"visitsSummary": {"total": 2, "nonBots": 1, "bots": 1}, "redirectRules": [\
{"longUrl": "https://example.com/second", "priority": 2, "conditions": [{"type": "ip-address", "matchKey": null, "matchValue": \
"1.2.3.*"}]}, \
{"longUrl": "https://example.com/first", "priority": 1, "conditions": [{"type": "device", "matchKey": null, "matchValue": "ios"}, \
{"type": "query-param", "matchKey": "a", "matchValue": "b"}]}, \
{"longUrl": "https://example.com/lost", "priority": 3, "conditions": [{"type": "geolocation-city-name", "matchKey": null, \
"matchValue": "Paris"}]}]}}
{"domain": "go.example.org", "code": "menu", "page": [{"referer": "https://news.example.com/", "date": \
"2024-03-05T09:12:44+08:00", "userAgent": "Mozilla/5.0", "visitLocation": {"countryCode": "FR", "countryName": "France"}, \
"potentialBot": false, "visitedUrl": "https://go.example.org/menu", "redirectUrl": null}, {"referer": "", "date": \
"2024-03-06T09:12:44+08:00", "userAgent": "curl", "visitLocation": null, "potentialBot": true}]}
{"so_far": {"page": 2}}
"""

SHLINK_DUMP = """\
--
-- PostgreSQL database dump
--
\\restrict abc
SET standard_conforming_strings = on;
CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS $$ INSERT INTO short_urls VALUES (1); $$;
CREATE TABLE public.short_urls (
    id bigint NOT NULL,
    original_url text NOT NULL,
    short_code character varying(255) NOT NULL,
    date_created timestamp(0) without time zone NOT NULL,
    valid_since timestamp(0) without time zone,
    valid_until timestamp(0) without time zone,
    max_visits integer,
    domain_id bigint,
    title character varying(512),
    crawlable boolean DEFAULT false NOT NULL,
    forward_query boolean DEFAULT true NOT NULL
);
COPY public.domains (id, authority) FROM stdin;
1\ts.example.org
\\.
COPY public.redirect_conditions (id, type, match_key, match_value) FROM stdin;
1\tlanguage\t\\N\tde
\\.
COPY public.redirect_conditions_in_short_url_redirect_rules (redirect_condition_id, short_url_redirect_rule_id) FROM stdin;
1\t7
\\.
COPY public.short_url_redirect_rules (id, priority, long_url, short_url_id) FROM stdin;
7\t1\thttps://example.com/de\t10
\\.
COPY public.short_url_visits_counts (id, potential_bot, count, slot_id, short_url_id) FROM stdin;
1\tf\t3\t1\t10
2\tf\t4\t57\t10
3\tt\t2\t5\t10
\\.
COPY public.short_urls (id, original_url, short_code, date_created, valid_since, valid_until, max_visits, domain_id, title, \
crawlable, forward_query) FROM stdin;
10\thttps://example.com/\\\\x\tmenu\t2024-03-05 09:12:44\t\\N\t\\N\t5\t\\N\tA\\ttab\tf\tt
11\thttps://example.com/y\tmenu\t2024-03-05 09:12:44\t\\N\t\\N\t\\N\t1\t\\N\tt\tf
\\.
COPY public.short_urls_in_tags (short_url_id, tag_id) FROM stdin;
10\t1
10\t2
\\.
COPY public.tags (id, name) FROM stdin;
1\tfood
2\tnews
\\.
COPY public.visit_locations (id, country_code, country_name) FROM stdin;
9\tFR\tFrance
\\.
COPY public.visits (id, referer, date, remote_addr, user_agent, visit_location_id, short_url_id, potential_bot, type) FROM stdin;
1\thttps://news.example.com/\t2024-03-06 00:00:00\t192.0.2.0\tMozilla/5.0\t9\t11\tf\tvalid_short_url
2\t\t2024-03-06 00:00:01\t192.0.2.0\tcurl\t\\N\t\\N\tt\tbase_url
\\.
"""

YOURLS_DUMP = """\
-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET TIME_ZONE='+00:00' */;
DROP TABLE IF EXISTS `wp_posts`;
CREATE TABLE `wp_posts` (`ID` bigint, `post_content` longtext);
INSERT INTO `wp_posts` VALUES (1,'; INSERT INTO `yourls_url` VALUES (''x'',''y'') \\'');
CREATE TABLE `yourls_url` (
  `keyword` varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  `url` text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `title` text DEFAULT NULL,
  `timestamp` timestamp NOT NULL DEFAULT current_timestamp(),
  `ip` varchar(41) NOT NULL,
  `clicks` int(10) unsigned NOT NULL,
  PRIMARY KEY (`keyword`),
  KEY `url_idx` (`url`(30))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `yourls_url` (`keyword`,`url`,`title`,`timestamp`,`ip`,`clicks`) VALUES
('promo','https://example.com/?a=1','It\\'s on','2019-05-01 10:22:03','203.0.113.9',41),
('ab-c','https://example.com/;),(''x''','Two\\r\\nlines \\\\ \\"q\\"','2019-05-01 10:22:04','203.0.113.9',0);
INSERT INTO "yourls_url" VALUES ('hex',0x68747470733A2F2F6578616D706C652E636F6D2F,NULL,'0000-00-00 00:00:00','',2);
INSERT INTO yourls_url VALUES ('twice','https://example.com/t','CafÃ©','2019-05-01 10:22:05','',3) ON DUPLICATE KEY UPDATE clicks=1;
INSERT INTO `yourls_log` VALUES (7,'2019-05-02 08:00:11','promo','direct','Mozilla/5.0 …','203.0.113.10','FR');
INSERT INTO `yourls_log` VALUES (8,'2019-05-02 08:00:12','promo','https://news.example.com/','x','203.0.113.10','');
-- Dump completed on 2024-01-01"""

YOURLS_BARE = """\
INSERT INTO `yourls_url` (`keyword`,`url`,`title`,`timestamp`,`ip`,`clicks`) VALUES ('promo','https://example.com/?a=1','It\\'s on',\
'2019-05-01 10:22:03','203.0.113.9',41);
INSERT INTO `yourls_log` VALUES (7,'2019-05-02 08:00:11','promo','direct','Mozilla/5.0 …','203.0.113.10','FR');
"""

YOURLS_TABLE = """\
"keyword";"url";"title";"timestamp";"ip";"clicks"
"promo";"https://example.com/?a=1";NULL;"2019-05-01 10:22:03";"203.0.113.9";"41"
"""

YOURLS_BARE_TABLE = '"promo","https://example.com/?a=1","T","2019-05-01 10:22:03","203.0.113.9","41"\n'

YOURLS_PLUGIN = "source,target,hits\r\n/promo/,https://example.com/?a=1,41\r\n"

YOURLS_OTHER = """\
Short URL,Original URL,Title,Date,IP,Clicks
https://s.example.org/promo,https://example.com/?a=1,T,2019-05-01 10:22:03,203.0.113.9,"1,041"
"""

YOURLS_ANSWER = """\
{"links":{"link_1":{"shorturl":"https://s.example.org/promo","url":"https://example.com/?a=1","title":"T","timestamp":\
"2019-05-01 10:22:03","ip":"203.0.113.9","clicks":"41"},"link_2":{"shorturl":"https://s.example.org/x","url":"https://example.com/",\
"title":"","timestamp":"2019-05-01 10:22:03","ip":"","clicks":0}},"stats":{"total_links":"2","total_clicks":"41"},\
"message":"success","statusCode":"200"}
"""

YOURLS_PULLED = """\
{"source": "yourls", "base": "https://example.org/s"}
{"shorturl":"https://example.org/s/promo","url":"https://example.com/","title":"T","timestamp":"2019-05-01 10:22:03","ip":"","clicks":1}
"""

BITLY = """\
Bitlink,Title,Long URL,Tags,Created,Total Clicks,Campaign,Archived
bit.ly/3AbCdEf,Spring sale,https://example.com/s?utm_source=x,"sale, 2024",2024-04-01T08:00:00+0000,128,,No
"""

BITLY_NEW = """\
Link,Custom Link,Destination URL,Title,Created At,Clicks,Archived
https://bit.ly/3AbCdEf,https://bit.ly/spring,https://example.com/s,,2024-04-01T08:00:00+0000,128,true
"""

BITLY_ANSWER = """\
{"links":[{"created_at":"2024-04-01T08:00:00+0000","id":"bit.ly/3AbCdEf","link":"https://bit.ly/3AbCdEf","custom_bitlinks":\
["https://go.example.org/spring"],"long_url":"https://example.com/s","title":"A\x01B","archived":false,"tags":["sale"],"deeplinks":[]}],\
"pagination":{"next":"","search_after":"","size":50,"total":1,"page":1}}
"""

KUTT_ANSWER = (
    '{"id":"8f0c","address":"promo","target":"https://example.com/","description":null,"domain":null,"visit_count":12,'
    '"expire_in":null,"password":false,"banned":false,"created_at":"2023-01-02T03:04:05.000Z","updated_at":'
    '"2023-01-02T03:04:05.000Z","link":"https://kutt.example/promo"}'
)

KUTT_DUMP = f"""\
-- PostgreSQL database dump
SET standard_conforming_strings = on;
CREATE TABLE public.knex_migrations (id integer);
COPY public.domains (id, banned, address, homepage, user_id) FROM stdin;
4\tf\ts.example.org\t\\N\t1
\\.
COPY public.links (id, address, description, banned, domain_id, password, expire_in, target, user_id, visit_count, created_at) \
FROM stdin;
1\tpromo\tA note\tf\t4\t{BCRYPT}\t2030-01-01 00:00:00+00\thttps://example.com/\t1\t12\t2023-01-02 03:04:05.678+00
2\tpromo\t\\N\tt\t\\N\t\\N\t\\N\thttps://example.com/2\t1\t0\t2023-01-02 03:04:05+00
\\.
COPY public.visits (id, countries, created_at, link_id, referrers, total, br_chrome, br_firefox, br_other, os_linux, os_macos) \
FROM stdin;
1\t{{"fr": 2, "unknown": 1}}\t2023-01-03 05:00:00+00\t1\t{{"news[dot]example[dot]co[dot]uk": 2, "Direct": 1}}\t3\t2\t0\t1\t1\t2
\\.
"""

KUTT_SQLITE = f"""\
CREATE TABLE knex_migrations (id integer);
CREATE TABLE domains (id integer primary key, address varchar, homepage varchar);
CREATE TABLE links (id integer primary key, address varchar, description varchar, banned boolean, domain_id integer,
 password varchar, expire_in datetime, target varchar, visit_count integer, created_at datetime);
CREATE TABLE visits (id integer primary key, countries json, created_at datetime, link_id integer, referrers json, total integer,
 br_chrome integer);
INSERT INTO links VALUES (1, 'promo', NULL, 0, NULL, '{BCRYPT}', 1893456000000, 'https://example.com/', 3, '2023-01-02 03:04:05');
INSERT INTO visits VALUES (1, '{{"de":3}}', '2023-01-03 05:00:00', 1, '{{}}', 3, 3);
"""

KUTT_CSV = (
    "address,target,description,visit_count,created_at\npromo,https://example.com/,Note,12,2023-01-02T03:04:05.000Z\n"
)

POLR_DUMP = """\
-- phpMyAdmin SQL Dump
INSERT INTO `links` VALUES (3,'promo','https://example.com/','203.0.113.4','admin','5','',0,1,0,'2016-01-02 03:04:05',\
'2016-01-02 03:04:05');
INSERT INTO `links` VALUES (4,'hid','https://example.com/h','203.0.113.4','admin',7,'s3cr',1,1,0,'2016-01-02 03:04:05',NULL);
INSERT INTO `clicks` VALUES (1,'203.0.113.9','FR','https://news.example.com/','news.example.com','Mozilla/5.0',4,\
'2016-01-03 03:04:05','2016-01-03 03:04:05');
"""

CHHOTO_SQLITE = """\
CREATE TABLE urls (id INTEGER PRIMARY KEY, long_url TEXT NOT NULL, short_url TEXT NOT NULL, hits INTEGER NOT NULL,
 expiry_time INTEGER, notes TEXT);
CREATE UNIQUE INDEX idx_short_url ON urls (short_url);
INSERT INTO urls VALUES (1, 'https://example.com', 'a-b', 3, 1893456000, 'why');
INSERT INTO urls VALUES (2, 'magnet:?xt=1', 'm', 0, NULL, NULL);
"""

CHHOTO_ANSWER = '[{"shortlink":"a-b","longlink":"https://example.com","hits":3,"expiry_time":0,"notes":""}]'

DUB = """\
Short link,Destination URL,Clicks,Created at,Tags
https://go.example.org/docs/start,https://example.com/d,54,2024-05-06T07:08:09.000Z,"docs, public"
https://go.example.org/_root,https://example.com/r,1,2024-05-06T07:08:09.000Z,'=x
"""

DUB_ANSWER = """\
[{"id":"l1","domain":"go.example.org","key":"docs/start","url":"https://example.com/d","shortLink":"https://go.example.org/docs/start",
"title":null,"description":"D","tags":[{"id":"t","name":"docs","color":"red"}],"clicks":54,"createdAt":"2024-05-06T07:08:09.000Z",
"expiresAt":"2030-05-06T07:08:09.000Z","expiredUrl":"https://example.com/over","archived":true,"comments":"C","password":"secret",
"ios":"https://example.com/i","android":null,"geo":{"DE":"https://example.com/de"}}]
"""

REBRANDLY = """\
id,createdAt,shortUrl,domain,slashtag,destination
9c2f,2023-08-01T12:00:00.000Z,go.example.org/news,go.example.org,news,https://example.com/news
"""

REBRANDLY_ANSWER = """\
[{"id":"9c2f","title":"News","slashtag":"news","destination":"https://example.com/news","shortUrl":"go.example.org/news",
"domain":{"fullName":"go.example.org"},"tags":[{"name":"a"}],"clicks":5,"createdAt":"2023-08-01T12:00:00.000Z","favourite":false}]
"""

SHORTIO_ANSWER = """\
{"links":[{"idString":"lnk_1","originalURL":"https://example.com/","path":"","title":null,"tags":[],"shortURL":"http://s.example.org/",
"secureShortURL":"https://s.example.org/","createdAt":1700000000000,"expiresAt":null,"clicksLimit":10,"archived":false},
{"idString":"lnk_2","originalURL":"https://example.com/x","path":"a/b","shortURL":"http://s.example.org/a/b","createdAt":
"2023-08-01T12:00:00.000Z","iphoneURL":"https://example.com/i"}],"count":2,"nextPageToken":null}
"""

SHORTIO = "Original URL,Path,Title,Clicks\nhttps://example.com/,promo,T,5\n"

TINYURL_ANSWER = """\
{"data":[{"alias":"promo","domain":"tinyurl.com","tiny_url":"https://tinyurl.com/promo","url":"https://example.com/","tags":["a"],
"created_at":"2023-08-01T12:00:00+00:00","expires_at":null,"hits":5}],"code":0,"errors":[]}
"""

TINYURL = "Alias,Domain,Long URL,Created At,Hits\npromo,tinyurl.com,https://example.com/,2023-08-01,5\n"

FIREBASE = (
    "short_link,link,apn,afl,amv,ibi,ifl,ius,ipfl,ipbi,isi,imv,efr,ofl,st,sd,si,utm_source,utm_medium,utm_campaign,utm_term,"
    "utm_content,at,ct,mt,pt,archived,link_name,creation_time\n"
    "https://x.page.link/AbCd,https://example.com/?utm_source=a#f,com.example,,,com.example.ios,https://example.com/i,,,,,,,,"
    "Title,Text,,b,mail,,,,,,,,false,Name,2023-08-01T12:00:00Z\n"
)

TROTTO = """\
[{"id":1,"created":"2023-08-01 12:00:00.5","modified":"2023-08-01 12:00:00","owner":"a@example.org","namespace":"go",
"shortpath":"wiki/home","destination_url":"https://example.com/","type":null,"visits_count":null,"unlisted":false},
{"id":2,"created":"2023-08-01 12:00:00","shortpath":"s/%s","destination_url":"https://example.com/?q=%s","visits_count":3}]
"""

GOLINK = """\
{"Short":"meet","Long":"https://example.com/m","Created":"2022-05-31T13:04:44.741457796-07:00","LastEdit":"2022-05-31T13:04:44Z","Owner":"a"}
{"Short":"who","Long":"https://example.com/{{.Path}}","Created":"2022-05-31T13:04:44Z","LastEdit":"2022-05-31T13:04:44Z","Owner":"a"}
"""

BOOKMARKS = """\
<!DOCTYPE NETSCAPE-Bookmark-file-1>
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=UTF-8">
<TITLE>Bookmarks</TITLE>
<H1>Bookmarks</H1>
<DL><p>
<DT><H3 ADD_DATE="1">Folder</H3>
<DL><p>
<DT><A HREF="https://example.com/?a=1&amp;b=2" ADD_DATE="1700000000" PRIVATE="0" TOREAD="1" TAGS="a,b">T &amp; U</A>
<DD>A note
<DT><A HREF="javascript:alert(1)" ADD_DATE="1700000000">Bad</A>
<DT><A HREF="https://example.org/" ADD_DATE="1700000000000000">Other</A>
</DL><p>
</DL><p>
"""

TINY_CC = '"url";"short_id";"note"\n"https://example.com/";"promo";"N"\n'
GOO_GL = "short,long,created,clicks\nhttps://goo.gl/AbC,https://example.com/,4/13/2017,7\n"
BARE_LIST = "https://example.com/a,promo,A title\nhttps://example.com/b\n"

SAMPLES = tuple(
    Sample(source, name, data.encode() if isinstance(data, str) else data)
    for source, name, data in (
        ("shlink", "short_urls.csv", SHLINK_LINKS),
        ("shlink", "short_urls.csv", SHLINK_OLD_LINKS),
        ("shlink", "short-url_menu_visits.csv", SHLINK_VISITS),
        ("shlink", "visits.csv", SHLINK_COMMAND_VISITS),
        ("shlink", "links.csv", SHLINK_IMPORTERS),
        ("shlink", "answer.json", SHLINK_ANSWER),
        ("shlink", "pulled.ndjson", SHLINK_PULLED),
        ("shlink", "shlink.sql", SHLINK_DUMP),
        ("yourls", "yourls.sql", YOURLS_DUMP),
        ("yourls", "dump.sql", YOURLS_BARE),
        ("yourls", "yourls_url.csv", YOURLS_TABLE),
        ("yourls", "yourls_url.csv", YOURLS_BARE_TABLE),
        ("yourls", "export.csv", YOURLS_PLUGIN),
        ("yourls", "export.csv", YOURLS_OTHER),
        ("yourls", "stats.json", YOURLS_ANSWER),
        ("yourls", "pulled.ndjson", YOURLS_PULLED),
        ("bitly", "bitly.csv", BITLY),
        ("bitly", "bitly.csv", BITLY_NEW),
        ("bitly", "bitly.json", BITLY_ANSWER),
        ("kutt", "links.json", KUTT_ANSWER),
        ("kutt", "links.json", f"[{KUTT_ANSWER}]"),
        ("kutt", "links.json", f'{{"total":1,"limit":50,"skip":0,"data":[{KUTT_ANSWER}]}}'),
        ("kutt", "links.json", f'{{"links":[{KUTT_ANSWER}]}}'),
        ("kutt", "kutt.sql", KUTT_DUMP),
        ("kutt", "kutt.sqlite", sqlite_of(KUTT_SQLITE)),
        ("kutt", "kutt.csv", KUTT_CSV),
        ("polr", "polr.sql", POLR_DUMP),
        ("chhoto", "urls.sqlite", sqlite_of(CHHOTO_SQLITE)),
        ("chhoto", "all.json", CHHOTO_ANSWER),
        ("dub", "links.csv", DUB),
        ("dub", "links.json", DUB_ANSWER),
        ("rebrandly", "links.csv", REBRANDLY),
        ("rebrandly", "links.json", REBRANDLY_ANSWER),
        ("shortio", "links.json", SHORTIO_ANSWER),
        ("shortio", "links.csv", SHORTIO),
        ("tinyurl.com", "links.json", TINYURL_ANSWER),
        ("tinyurl.com", "links.csv", TINYURL),
        ("firebase", "links.csv", FIREBASE),
        ("golinks", "links.json", TROTTO),
        ("golinks", "links.jsonl", GOLINK),
        ("bookmarks", "bookmarks.html", BOOKMARKS),
        ("csv", "tinycc.csv", TINY_CC),
        ("csv", "googl.csv", GOO_GL),
        ("csv", "list.csv", BARE_LIST),
    )
)
