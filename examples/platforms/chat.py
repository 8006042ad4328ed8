"""A conversation: an agent from the record, tools, an answer that names its source, and what it all used."""

from umbel_client import Umbel

AGENT = {
    "description": "Answers with sources.",
    "instructions": "Answer briefly; name the tool an answer is from as [1].",
    "tools": ["calculator", "datetime"],
}


def main() -> None:
    with Umbel() as umbel:
        umbel.put_agent("analyst", AGENT)
        session = umbel.sessions.create("Launch", "analyst")
        for prompt in ("In how many days is the launch?", "What did I ask?"):
            task = umbel.submit("agent", {"prompt": prompt, "session": session.id})
            print(f"> {prompt}\n{umbel.wait(task.id).result['text']}")
        for message in umbel.sessions.messages(session.id):
            print(message.number, message.role, [each["tool"] for each in message.tools])
        print(umbel.usage()["total"])


if __name__ == "__main__":
    main()
