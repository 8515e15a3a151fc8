// LINE-C: sends a line to the instance and expects another. ../README.md says what it has to answer.
//
// Who owns what: strings and lists that come in, as parameters or from the host, are freed here; those that go out are
// freed by the generated code once the host has read them, so each of them is a copy.

#include "health_check.h"
#include <stdlib.h>
#include <string.h>

// Bytes of the answer that are looked at.
#define MAX_ANSWER 200

typedef health_check_string_t string;
typedef muster_plugin_types_setting_t setting;
typedef exports_muster_plugin_checker_settings_t settings_list;
typedef exports_muster_plugin_checker_verdict_t verdict;
typedef exports_muster_plugin_checker_fault_t fault;
typedef muster_plugin_dial_dial_error_t dial_error;

// The first line of the answer, as text.
typedef struct {
    char text[MAX_ANSWER];
    size_t length;
} answer_line;

static string copy_of(const char *text) {
    string copy;
    health_check_string_dup(&copy, text);
    return copy;
}

static string copy_bytes(const void *bytes, size_t length) {
    string copy;
    health_check_string_dup_n(&copy, bytes, length);
    return copy;
}

static bool is(string text, const char *word) {
    size_t length = strlen(word);
    return text.len == length && memcmp(text.ptr, word, length) == 0;
}

static bool is_printable(uint8_t byte) { return byte >= ' ' && byte <= '~'; }

// ---- about

static setting described(const char *key, const char *by_default, const char *summary) {
    setting one = {.key = copy_of(key), .summary = copy_of(summary)};
    one.kind.tag = MUSTER_PLUGIN_TYPES_KIND_TEXT;
    one.default_.is_some = by_default != NULL;
    if (by_default != NULL) one.default_.val = copy_of(by_default);
    return one;
}

void exports_muster_plugin_about_describe(exports_muster_plugin_about_descriptor_t *said) {
    said->name = copy_of("LINE-C");
    said->version = copy_of("0.1.0");
    said->summary = copy_of("sends a line and expects another");
    setting *settings = malloc(4 * sizeof(setting));
    if (settings == NULL) abort();
    settings[0] = described("send", "PING", "line to send; empty: send nothing");
    settings[1] = described("expect", "+PONG", "how the answer has to begin");
    settings[2] = described("mismatch", "failed", "what another answer means");
    settings[2].kind.tag = MUSTER_PLUGIN_TYPES_KIND_CHOICE;
    string *words = malloc(3 * sizeof(string));
    if (words == NULL) abort();
    words[0] = copy_of("failed");
    words[1] = copy_of("failed-now");
    words[2] = copy_of("warning");
    settings[2].kind.val.choice.ptr = words;
    settings[2].kind.val.choice.len = 3;
    settings[3] = described("connect-timeout", NULL, "ms; left out: the time of the check");
    settings[3].kind.tag = MUSTER_PLUGIN_TYPES_KIND_INTEGER;
    settings[3].kind.val.integer.f0 = 1;
    settings[3].kind.val.integer.f1 = 60000;
    said->settings.ptr = settings;
    said->settings.len = 4;
}

static bool all_printable(string text) {
    for (size_t i = 0; i < text.len; i++) {
        if (!is_printable(text.ptr[i])) return false;
    }
    return true;
}

void exports_muster_plugin_about_validate(exports_muster_plugin_about_settings_t *settings,
                                          exports_muster_plugin_about_list_problem_t *problems) {
    // two settings are looked at, and one of them can be wrong in two ways
    exports_muster_plugin_about_problem_t *found = malloc(3 * sizeof *found);
    if (found == NULL) abort();
    size_t count = 0;
    for (size_t i = 0; i < settings->len && count < 2; i++) {
        string key = settings->ptr[i].f0, value = settings->ptr[i].f1;
        bool expects = is(key, "expect");
        if ((expects || is(key, "send")) && !all_printable(value)) {
            found[count].key = copy_bytes(key.ptr, key.len);
            found[count++].message = copy_of("must be one line of printable ASCII");
        }
        if (expects && value.len == 0) {
            found[count].key = copy_of("expect");
            found[count++].message = copy_of("must not be empty");
        }
    }
    if (count == 0) free(found); // the generated code frees only lists with something in them
    problems->ptr = found;
    problems->len = count;
    exports_muster_plugin_about_settings_free(settings);
}

// ---- checker

static void say(verdict *said, exports_muster_plugin_checker_outcome_t outcome, const char *code, const char *message) {
    *said = (verdict){.outcome = outcome, .code = copy_of(code), .message = copy_of(message)};
}

static void not_connected(dial_error *error, verdict *said) {
    switch (error->tag) {
    case MUSTER_PLUGIN_DIAL_DIAL_ERROR_REFUSED:
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED_NOW, "line.refused", "connection refused");
        break;
    case MUSTER_PLUGIN_DIAL_DIAL_ERROR_TIMED_OUT:
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED, "line.timed-out", "no connection in time");
        break;
    case MUSTER_PLUGIN_DIAL_DIAL_ERROR_DENIED:
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_INCONCLUSIVE, "line.denied", "not allowed to connect");
        break;
    default:
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED, "line.unreachable", "no connection");
    }
    muster_plugin_dial_dial_error_free(error);
}

static void broken(dial_error *error, verdict *said) {
    if (error->tag == MUSTER_PLUGIN_DIAL_DIAL_ERROR_DENIED) {
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_INCONCLUSIVE, "line.denied", "not allowed to go on");
    } else {
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED, "line.broken", "the connection broke");
    }
    muster_plugin_dial_dial_error_free(error);
}

// Sends the line with its end; nothing at all when it is empty.
static bool send(muster_plugin_dial_borrow_connection_t connection, string line, dial_error *error) {
    if (line.len == 0) return true;
    health_check_list_u8_t bytes = {.ptr = malloc(line.len + 2), .len = line.len + 2};
    if (bytes.ptr == NULL) abort();
    memcpy(bytes.ptr, line.ptr, line.len);
    memcpy(bytes.ptr + line.len, "\r\n", 2);
    bool sent = muster_plugin_dial_method_connection_write(connection, &bytes, error);
    free(bytes.ptr);
    return sent;
}

// Reads up to the end of the line, of the stream or of what is looked at.
static bool receive(muster_plugin_dial_borrow_connection_t connection, answer_line *answer, dial_error *error) {
    bool ended = false;
    while (!ended && answer->length < MAX_ANSWER) {
        health_check_list_u8_t part;
        uint32_t room = (uint32_t)(MAX_ANSWER - answer->length);
        if (!muster_plugin_dial_method_connection_read(connection, room, &part, error)) return false;
        ended = part.len == 0;
        for (size_t i = 0; i < part.len; i++) {
            answer->text[answer->length++] = (char)part.ptr[i];
            ended = ended || part.ptr[i] == '\n';
        }
        health_check_list_u8_free(&part);
    }
    return true;
}

// Leaves the first line; what is not printable ASCII becomes `?`.
static void cut_to_line(answer_line *answer) {
    size_t length = 0;
    while (length < answer->length && answer->text[length] != '\n') length++;
    if (length > 0 && answer->text[length - 1] == '\r') length--;
    answer->length = length;
    for (size_t i = 0; i < length; i++) {
        if (!is_printable((uint8_t)answer->text[i])) answer->text[i] = '?';
    }
}

// True with the first line of the answer, false with the verdict on the lack of one.
static bool ask(string line, uint32_t *timeout, answer_line *answer, verdict *said) {
    dial_error error;
    muster_plugin_dial_own_connection_t connection;
    if (!muster_plugin_dial_connect(timeout, &connection, &error)) {
        not_connected(&error, said);
        return false;
    }
    muster_plugin_dial_borrow_connection_t borrowed = muster_plugin_dial_borrow_connection(connection);
    answer->length = 0;
    bool answered = send(borrowed, line, &error) && receive(borrowed, answer, &error);
    // closes it: the host reuses an instance only when no connection was kept
    muster_plugin_dial_connection_drop_own(connection);
    if (!answered) {
        broken(&error, said);
        return false;
    }
    if (answer->length == 0) {
        say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED, "line.silent", "closed without an answer");
        return false;
    }
    cut_to_line(answer);
    return true;
}

static void passed(const answer_line *answer, verdict *said) {
    say(said, EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_PASSED, "", "");
    said->facts.ptr = malloc(sizeof *said->facts.ptr);
    if (said->facts.ptr == NULL) abort();
    said->facts.ptr[0].f0 = copy_of("answer");
    said->facts.ptr[0].f1 = copy_bytes(answer->text, answer->length);
    said->facts.len = 1;
}

static void mismatched(exports_muster_plugin_checker_outcome_t outcome, const answer_line *answer, verdict *said) {
    static const char before[] = "answered \"";
    char message[sizeof before + MAX_ANSWER + 1];
    memcpy(message, before, sizeof before - 1);
    memcpy(message + sizeof before - 1, answer->text, answer->length);
    message[sizeof before - 1 + answer->length] = '"';
    message[sizeof before + answer->length] = '\0';
    say(said, outcome, "line.mismatch", message);
}

static string setting_of(const settings_list *settings, const char *key) {
    for (size_t i = 0; i < settings->len; i++) {
        if (is(settings->ptr[i].f0, key)) return settings->ptr[i].f1;
    }
    return (string){0};
}

static bool bad_setting(const char *key, const char *message, fault *error) {
    error->tag = MUSTER_PLUGIN_TYPES_FAULT_BAD_SETTINGS;
    error->val.bad_settings.key = copy_of(key);
    error->val.bad_settings.message = copy_of(message);
    return false;
}

// The host has checked that it is a number from 1 to 60000; this does not rely on it.
static bool number(string text, uint32_t *value) {
    *value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || *value > 60000) return false;
        *value = *value * 10 + (text.ptr[i] - '0');
    }
    return true;
}

static bool outcome_of(string word, exports_muster_plugin_checker_outcome_t *outcome) {
    if (is(word, "failed")) *outcome = EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED;
    else if (is(word, "failed-now")) *outcome = EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_FAILED_NOW;
    else if (is(word, "warning")) *outcome = EXPORTS_MUSTER_PLUGIN_CHECKER_OUTCOME_WARNING;
    else return false;
    return true;
}

static bool check(const settings_list *settings, verdict *said, fault *error) {
    exports_muster_plugin_checker_outcome_t otherwise;
    if (!outcome_of(setting_of(settings, "mismatch"), &otherwise)) {
        return bad_setting("mismatch", "is not a word that is known here", error);
    }
    string given = setting_of(settings, "connect-timeout");
    uint32_t timeout;
    if (!number(given, &timeout)) return bad_setting("connect-timeout", "must be a number", error);
    answer_line answer;
    if (!ask(setting_of(settings, "send"), given.len > 0 ? &timeout : NULL, &answer, said)) return true;
    string expected = setting_of(settings, "expect");
    bool begins = answer.length >= expected.len && memcmp(answer.text, expected.ptr, expected.len) == 0;
    if (begins) passed(&answer, said);
    else mismatched(otherwise, &answer, said);
    return true;
}

bool exports_muster_plugin_checker_check(exports_muster_plugin_checker_target_t *target, settings_list *settings,
                                         verdict *said, fault *error) {
    bool done = check(settings, said, error);
    exports_muster_plugin_checker_target_free(target);
    exports_muster_plugin_checker_settings_free(settings);
    return done;
}
