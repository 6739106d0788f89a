"""What the answers of the seen form differ in; each kind has a name, by which it can be switched off."""

from __future__ import annotations

from enum import StrEnum


class Variation(StrEnum):
    """A way in which public client code has met the upstream's answers, or has to reckon with them.

    The envelope:
        status_text: `status` as `"1"` or `"0"`.
        countries_status_0: `getcountries` with `status` 0 beside a whole list.
        content_type: JSON under text/html.
        refusal_names: the text of a refusal in `message`, `error` or `error_msg`.
        refusal_words: other words, or another case, for the same refusal.
        empty_data: `data` missing or null for an empty list.
        empty_refused: `status` 0 with `Orders not found` for an empty list.
        empty_row: one empty row for an empty list; of `sms` beside `status` 0.

    Values:
        numbers_as_text: ids, times, counts, prices and states as text.
        flags_as_numbers: 0 and 1.
        floats_17: floats with 17 digits.
        time_fraction, time_milliseconds: times that are no whole seconds.
        date_text: times such as `2026-01-20 09:47:53`.
        fields_missing: `lastonline`, `ccode`, `branchId`, a message's date or sender, a switch type.
        huge_numbers: numbers that no database holds.
        country_en: `EN` for the country of the archive and of the quote.
        dial_codes: a number with its dial code, with a plus or without, or beside an empty `ccode`.
        masked_numbers: a number of the archive with asterisks, or twice in a row.

    Lists:
        list_as_object: rows under numbers with gaps, or under their ids.
        rows_twice: a row that stands there twice.
        rows_empty: null, empty text, `{}` or `[]` among the rows.
        row_without_id: a row of `orders` that tells no id, beside all others.

    Methods:
        offers_list: `getdata` without `services`.
        offers_keyed: its services under their code.
        count_by_operator: its `count` as an object, with a total beside.
        count_total: `getcount` tells one number.
        create_list: the order in a list of one.
        create_names: number and end under other names.
        multi_list: `create_multi` tells of each order.
        multi_one_id: it makes one order for all services, which the list shows once or for each.
        done_data: `[]`, `{}`, `[{}]`, `{id}` or `[{id}]` where a call has nothing to tell.
        sms_list: a list alone, where no messages came for other services; `{}` or `[]` for none.
        sms_strings: messages that are bare text.
        other_sms_names: the text of other messages as `message` or `fullText`.
        added_nothing: `add_service_to_order` tells no order.
        restored_true: `restore_user` answers `true`.
        restored_new_id: it gives the order a new id.
        history_order: the archive's oldest orders come first.
        history_skip_ignored: every page of the archive is its first.
        balance_number: the balance as a number.
    """

    STATUS_TEXT = "status_text"
    COUNTRIES_STATUS_0 = "countries_status_0"
    CONTENT_TYPE = "content_type"
    REFUSAL_NAMES = "refusal_names"
    REFUSAL_WORDS = "refusal_words"
    EMPTY_DATA = "empty_data"
    EMPTY_REFUSED = "empty_refused"
    EMPTY_ROW = "empty_row"

    NUMBERS_AS_TEXT = "numbers_as_text"
    FLAGS_AS_NUMBERS = "flags_as_numbers"
    FLOATS_17 = "floats_17"
    TIME_FRACTION = "time_fraction"
    TIME_MILLISECONDS = "time_milliseconds"
    DATE_TEXT = "date_text"
    FIELDS_MISSING = "fields_missing"
    HUGE_NUMBERS = "huge_numbers"
    COUNTRY_EN = "country_en"
    DIAL_CODES = "dial_codes"
    MASKED_NUMBERS = "masked_numbers"

    LIST_AS_OBJECT = "list_as_object"
    ROWS_TWICE = "rows_twice"
    ROWS_EMPTY = "rows_empty"
    ROW_WITHOUT_ID = "row_without_id"

    OFFERS_LIST = "offers_list"
    OFFERS_KEYED = "offers_keyed"
    COUNT_BY_OPERATOR = "count_by_operator"
    COUNT_TOTAL = "count_total"
    CREATE_LIST = "create_list"
    CREATE_NAMES = "create_names"
    MULTI_LIST = "multi_list"
    MULTI_ONE_ID = "multi_one_id"
    DONE_DATA = "done_data"
    SMS_LIST = "sms_list"
    SMS_STRINGS = "sms_strings"
    OTHER_SMS_NAMES = "other_sms_names"
    ADDED_NOTHING = "added_nothing"
    RESTORED_TRUE = "restored_true"
    RESTORED_NEW_ID = "restored_new_id"
    HISTORY_ORDER = "history_order"
    HISTORY_SKIP_IGNORED = "history_skip_ignored"
    BALANCE_NUMBER = "balance_number"


EVERY_VARIATION = frozenset(Variation)
