"""The page Domains, for admins: where a domain's `/`, unknown codes and ended links lead, how its errors look, its files."""

import streamlit as st

from services.dashboard.known import known_domains
from services.dashboard.widgets.inputs import Errors, errors_of, show_error, show_other_errors
from shared.api import LONGEST_TITLE, LONGEST_URL
from shared.client import ApiError, Client, Domain, Key, KeyRefused, Unreachable
from shared.domains import FILES, LARGEST_FILE

TEXTS = {
    "root_url": ("Where the domain itself leads", "Empty: where the setting ROOT_URL says"),
    "not_found_url": ("Where unknown codes lead", "https://www.example.com/missing?code={code}"),
    "expired_url": (
        "Where ended links lead that have no address of their own",
        "Empty: a page that says the link is gone",
    ),
    "page_title": ("Title of the error pages", "Such as the name of your organisation"),
    "page_colour": ("Colour of the error pages", "#0a7d4b"),
}
"""The label of each field, and what stands in an empty one."""

FIELDS = (*TEXTS, "robots")
ERRORS, FILE_ERRORS, SAVED = "domains_errors", "domains_file_errors", "domains_saved"


def page(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Domains", anchor=False)
    names = known_domains(client)
    name = st.selectbox("Domain", names, key="domains_name") if len(names) > 1 else names[0]
    domain = client.domain(name)
    if st.session_state.pop(SAVED, None):
        st.success("Saved. Visitors get it within a second.")
    _ask(client, domain)
    st.subheader("Files for apps", anchor=False)
    _ask_file(client, domain)


def _ask(client: Client, domain: Domain) -> None:
    errors: Errors = st.session_state.pop(ERRORS, {})
    # The version is in the names of the inputs, so that they begin with what is stored.
    prefix = f"domains_{domain.domain}_{domain.version}"
    fields: dict[str, object] = {}
    with st.form("domains_form", border=False):
        for name, (label, empty) in TEXTS.items():
            text = st.text_input(
                label,
                value=getattr(domain, name) or "",
                max_chars=LONGEST_URL if name.endswith("_url") else LONGEST_TITLE,
                key=f"{prefix}_{name}",
                placeholder=empty,
            )
            show_error(errors, name, "This")
            fields[name] = text.strip() or None
        robots = st.text_area(
            "robots.txt",
            value=domain.robots or "",
            key=f"{prefix}_robots",
            placeholder="Empty: search engines may follow the links that are made for them, and nothing else",
        )
        show_error(errors, "robots", "The text")
        fields["robots"] = robots if robots.strip() else None
        has_slashes = st.checkbox(
            "Codes may have slashes in them",
            value=domain.multi_segment,
            key=f"{prefix}_multi_segment",
            help="Such as /menu/today. Without this, codes that have some lead nowhere.",
        )
        # A write service of the release before does not know the field.
        if has_slashes != domain.multi_segment:
            fields["multi_segment"] = has_slashes
        pressed = st.form_submit_button("Save", type="primary")
    show_other_errors(errors, FIELDS)
    if pressed:
        try:
            client.edit_domain(domain, fields)
            st.session_state[SAVED] = True
        except (KeyRefused, Unreachable):
            raise
        except ApiError as error:
            st.session_state[ERRORS] = errors_of(error)
        st.rerun()


def _ask_file(client: Client, domain: Domain) -> None:
    errors: Errors = st.session_state.pop(FILE_ERRORS, {})
    name = st.selectbox("File", list(FILES), key="domains_file", format_func=lambda each: f"/.well-known/{each}")
    is_stored = name in {file.name for file in domain.files}
    with st.form("domains_file_form", border=False):
        content = st.text_area(
            "Content",
            value=client.domain_file(domain, name) if is_stored else "",
            max_chars=LARGEST_FILE,
            key=f"domains_{domain.domain}_{domain.version}_{name}",
            placeholder="Empty: the domain has no such file",
        )
        pressed = st.form_submit_button("Save file")
    for reason in errors.values():
        show_error({"": reason}, "", "The file")
    if not pressed:
        return
    try:
        if content.strip():
            client.store_domain_file(domain, name, content)
        elif is_stored:
            client.delete_domain_file(domain, name)
        st.session_state[SAVED] = True
    except (KeyRefused, Unreachable):
        raise
    except ApiError as error:
        st.session_state[FILE_ERRORS] = errors_of(error)
    st.rerun()
